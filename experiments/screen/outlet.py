"""Output that nothing can stop: a character it lacks, or a reader that goes away."""

import codecs
import contextlib
import errno
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TextIO

from experiments.files import in_utf_8

_SYMBOLS = {
    "…": "...",
    "–": "-",
    "—": "-",
    "−": "-",
    "×": "x",
    "·": ".",
    "∘": "o",
    "÷": "/",
    "±": "+-",
    "≥": ">=",
    "≤": "<=",
    "≠": "!=",
    "→": "->",
    "←": "<-",
    "▼": "v",
    "▲": "^",
    "‖": "||",
    "√": "sqrt",
    "⌈": "[",
    "⌉": "]",
    "─": "-",
    "━": "-",
    "╸": "-",
    "╺": "-",
    "│": "|",
    "¹": "1",
    "²": "2",
    "³": "3",
    "⁶": "6",
    "⁻": "-",
    "₃": "3",
}
_LETTERS = {
    "α": "alpha",
    "β": "beta",
    "γ": "gamma",
    "δ": "delta",
    "ε": "epsilon",
    "λ": "lamb",  # as the option is called
    "π": "pi",
    "ω": "omega",
    "θ": "theta",
    "Σ": "sum",
    "Φ": "Phi",
    "ĝ": "g",
    "ᵀ": "T",
}
"""Those of our texts. In a name of the user's they would be another name."""


def _by_table(table: Mapping[str, str]) -> Callable[[UnicodeError], tuple[str, int]]:
    """Substitutes in ASCII for what an encoding lacks, as ``codecs`` asks for them."""

    def substitutes(error: UnicodeError) -> tuple[str, int]:
        if not isinstance(error, UnicodeEncodeError):
            raise error
        missing = error.object[error.start : error.end]
        return "".join(table.get(each) or _escaped(each) for each in missing), error.end

    return substitutes


def _escaped(character: str) -> str:
    return character.encode("ascii", "backslashreplace").decode("ascii")


codecs.register_error("our-texts", _by_table(_SYMBOLS | _LETTERS))
codecs.register_error("messages", _by_table(_SYMBOLS))


def shown(text: str, encoding: str, errors: str = "our-texts") -> str:
    r"""The text with the characters that an encoding has.

    What has no substitute is escaped, so that nothing is shown as what it is not. With
    ``messages`` letters have none: names of files stand there.

    Example:
      >>> shown("α ≥ 0.9 … \u732b", "latin-1"), shown("α ≥ λ", "ascii", "messages")
      ('alpha >= 0.9 ... \\u732b', '\\u03b1 >= \\u03bb')
    """
    return text.encode(encoding, errors).decode(encoding)


def name_shown(path: str | Path, encoding: str) -> str:
    r"""A path with what an encoding lacks escaped: another letter is another name.

    Its bytes are read as UTF-8, whatever the locale.

    Example:
      >>> name_shown("runs/\u03bb", "ascii"), name_shown("runs/\udcce\udcbb", "ascii")
      ('runs/\\u03bb', 'runs/\\u03bb')
    """
    readable = in_utf_8(str(path))
    return readable.encode(encoding, "backslashreplace").decode(encoding)


class Outlet(io.TextIOBase):
    """A stream of text whose writing never fails.

    Its attribute ``error`` is the first error of the stream below, after which nothing
    more is written. (It has no ``buffer``, past which Click would write.)

    Args:
      stream: where the text goes; nowhere if None, as Python has it of a closed one.
      errors: what is shown for a character that it lacks; see :func:`shown`.
    """

    def __init__(self, stream: TextIO | None, errors: str = "our-texts"):
        self._errors, self._stream = errors, stream or io.StringIO()
        self.error: OSError | None = None

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """That of the stream below."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Write the text, as far as it can be shown."""
        plain = shown(text, self.encoding, self._errors)
        self._unless_ended(lambda: self._stream.write(plain))
        return len(text)

    def flush(self) -> None:
        """Pass on what has been written."""
        self._unless_ended(self._stream.flush)

    def isatty(self) -> bool:
        """Whether a person reads it."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """That of the stream below."""
        return self._stream.fileno()

    def writable(self) -> bool:
        """It is."""
        return True

    def reader_has_gone(self) -> bool:
        """Whether writing has ended because nobody reads: ``| head``, a closed window.

        A full disk is something else.
        """
        return isinstance(self.error, ConnectionError) or (
            self.error is not None and self.error.errno == errno.EIO
        )

    def _unless_ended(self, action: Callable[[], object]) -> None:
        if self.error is not None or getattr(self._stream, "closed", False):
            return  # closed as when Python ends, which flushes what is left
        try:
            action()
        except OSError as error:
            self.error = error
            # What is left in its buffer would fail once more when Python ends.
            with contextlib.suppress(OSError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)


@contextlib.contextmanager
def outlets() -> Iterator[Callable[[], OSError | None]]:
    """Standard output and error as outlets.

    Yields the function that flushes them, and tells what kept standard output from
    being written, other than that its reader has gone.
    """
    before = sys.stdout, sys.stderr
    out, err = Outlet(before[0]), Outlet(before[1], "messages")
    sys.stdout, sys.stderr = out, err

    def error() -> OSError | None:
        out.flush()
        err.flush()
        return None if out.reader_has_gone() else out.error

    try:
        yield error
    finally:
        sys.stdout, sys.stderr = before
