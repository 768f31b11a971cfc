"""Files replaced whole, or grown by whole rows; JSON and CSV as we write them."""

import csv
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def write_whole(path: Path, contents: bytes) -> None:
    """Replace a file, by a temporary name and a rename; on disk on return.

    A reader sees the old contents or the new ones.

    Args:
      path: the file; its directory must exist. One process at a time may write it.
      contents: all of its bytes.
    """
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(contents)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    if os.name == "posix":  # elsewhere a directory cannot be opened
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def json_text(value: Any, *, indent: int | None = None) -> str:
    """JSON of a value; numbers that are not finite, which JSON lacks, become null.

    Example:
      >>> json_text({"loss": [float("nan"), 0.5]})
      '{"loss": [null, 0.5]}'
    """
    return json.dumps(
        _finite_or_none(value), indent=indent, ensure_ascii=False, allow_nan=False
    )


def _finite_or_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite_or_none(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite_or_none(item) for item in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return _finite_or_none(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_json(path: Path, value: Any) -> None:
    """Replace a file by JSON."""
    write_whole(path, f"{json_text(value, indent=2)}\n".encode())


def read_json(path: Path) -> Any:
    """What a file of JSON holds."""
    return json.loads(path.read_text(encoding="utf-8"))


def append_row(path: Path, columns: Sequence[str], values: Sequence[str]) -> None:
    """Add a row to a CSV file, after a header if it is new; on disk on return."""
    is_new = not path.exists() or path.stat().st_size == 0
    with path.open("a", newline="", encoding="utf-8") as file:
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
    lines = whole_lines(path)
    return lines[0].rstrip("\n").split(",") if lines else []


def read_table(path: Path) -> dict[str, np.ndarray]:
    """The columns of a CSV file of numbers, by name; none before the first row."""
    lines = whole_lines(path)
    if len(lines) < 2:
        return {}
    table = np.genfromtxt(lines, delimiter=",", names=True, ndmin=1, dtype=None)
    return {name: table[name] for name in table.dtype.names or ()}
