"""Files replaced whole, or grown by whole rows; JSON and CSV as we write them."""

import contextlib
import csv
import errno
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors within say which file: that of a full disk, say, does not by itself."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


@contextlib.contextmanager
def where_allowed() -> Iterator[None]:
    """Leave it quietly where nothing may be written, as in an archive."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise


def expanded(path: str | Path) -> Path:
    """A path with the user's home for a ``~`` at its start.

    Shells do so for words, but few for the end of ``--option=~/…``; Python does not.
    """
    return Path(os.path.expanduser(path))  # unlike Path's own, no error without a home


def write_whole(path: Path, contents: bytes | Iterable[bytes]) -> None:
    """Replace a file, by a temporary name and a rename; on disk on return.

    A reader sees the old contents or the new ones. If an error ends it, nothing new is
    left behind.

    Args:
      path: the file; its directory must exist. One process at a time may write it.
      contents: all of its bytes, or parts of them, which are made as they are written.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with naming(path), temporary.open("wb") as file:
            file.writelines([contents] if isinstance(contents, bytes) else contents)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # elsewhere a directory cannot be opened
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def json_text(value: Any) -> str:
    """JSON of a value in a line, in ASCII: any output can show it as it is.

    Numbers that are not finite, which JSON lacks, become null.

    Example:
      >>> json_text({"loss": [float("nan"), 0.5]})
      '{"loss": [null, 0.5]}'
    """
    return json.dumps(_finite_or_none(value, in_utf_8), allow_nan=False)


def in_utf_8(text: str) -> str:
    r"""Bytes that Python could not read in the locale's encoding, read as UTF-8.

    Those that are no UTF-8 are escaped.

    Example:
      >>> in_utf_8("a \udcce\udcbb \udce4") == "a \u03bb \\xe4"
      True
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        with contextlib.suppress(UnicodeEncodeError):  # of other lone surrogates
            return text.encode(errors="surrogateescape").decode(
                errors="backslashreplace"
            )
    return text


def _finite_or_none(value: Any, text: Callable[[str], str] = str) -> Any:
    if isinstance(value, str):
        return text(value)
    if isinstance(value, dict):
        return {key: _finite_or_none(item, text) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite_or_none(item, text) for item in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return _finite_or_none(value.tolist(), text)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_json(path: Path, value: Any) -> None:
    """Replace a file by JSON, in UTF-8."""
    text = json.dumps(
        _finite_or_none(value), indent=2, ensure_ascii=False, allow_nan=False
    )
    # The bytes of a path that are no UTF-8 are such a character each as JSON has it.
    write_whole(path, f"{text}\n".encode(errors="backslashreplace"))


def read_json(path: Path) -> Any:
    """What a file of JSON holds."""
    return json.loads(path.read_text(encoding="utf-8"))


def append_row(path: Path, columns: Sequence[str], values: Sequence[str]) -> None:
    """Add a row to a CSV file, after a header if it is new; on disk on return."""
    is_new = not path.exists() or path.stat().st_size == 0
    with naming(path), path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if is_new:
            writer.writerow(columns)
        writer.writerow(values)
        file.flush()
        os.fsync(file.fileno())


def whole_lines(path: Path) -> list[str]:
    """The lines of a table; one that was written in part is no line."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [line for line in lines if line.endswith("\n")]


def header(path: Path) -> list[str]:
    """The columns of a CSV file; none if there is no header yet."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as file:
        line = file.readline()
    return line.rstrip("\n").split(",") if line.endswith("\n") else []


def read_table(path: Path) -> dict[str, np.ndarray]:
    """The columns of a CSV file of numbers, by name; none before the first row."""
    lines = whole_lines(path)
    if len(lines) < 2:
        return {}
    names, first = (line.rstrip("\n").split(",") for line in lines[:2])
    columns = np.loadtxt(lines[1:], delimiter=",", comments=None, ndmin=2, unpack=True)
    return {
        name: column.astype(int) if text.isdigit() else column
        for name, text, column in zip(names, first, columns, strict=True)
    }
