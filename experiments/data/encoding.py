"""Text as numbers and back: its own characters, or byte pairs from a tokenizer's files.

Byte pairs are GPT-2's (Radford et al. 2019): a folder with ``tokenizer.json``, or with
``vocab.json`` and ``merges.txt``, read by the package ``tokenizers``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from experiments.data.source import DataError
from experiments.files import expanded


class Encoding(Protocol):
    """What makes tokens of text.

    Attributes:
      size: number of different tokens.
    """

    size: int

    def encode(self, text: str) -> np.ndarray:
        """The tokens of a text, in the smallest unsigned type that holds them all."""

    def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
        """The text of tokens."""


class Characters:
    """The characters of a text, in the order of their code points.

    Args:
      text: the text that has all of them.

    Example:
      >>> characters = Characters("hello")
      >>> characters.encode("hole").tolist()
      [1, 3, 2, 0]
      >>> characters.decode([1, 0])
      'he'
    """

    def __init__(self, text: str):
        self._points = np.unique(_code_points(text))
        self.size = len(self._points)

    def encode(self, text: str) -> np.ndarray:
        """See :class:`Encoding`.

        Raises:
          ValueError: a character that is not among them.
        """
        points = _code_points(text)
        tokens = np.minimum(np.searchsorted(self._points, points), self.size - 1)
        if (unknown := points[self._points[tokens] != points]).size:
            known = self.decode(range(self.size))
            raise ValueError(
                f"the character {chr(unknown[0])!r} is not among those of the text: "
                f"{known!r}."
            )
        return _smallest(tokens, self.size)

    def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
        """See :class:`Encoding`."""
        return "".join(chr(point) for point in self._points[np.asarray(tokens, int)])


class BytePairs:
    """The tokens of a tokenizer's files.

    Args:
      folder: that has ``tokenizer.json``, or ``vocab.json`` and ``merges.txt``.

    Raises:
      DataError: the files are missing or damaged, or ``tokenizers`` is not installed.
    """

    def __init__(self, folder: str):
        self._tokenizer = _tokenizer(expanded(folder))
        self.size = self._tokenizer.get_vocab_size()

    def encode(self, text: str) -> np.ndarray:
        """See :class:`Encoding`."""
        found = self._tokenizer.encode(text, add_special_tokens=False)
        return _smallest(found.ids, self.size)

    def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
        """See :class:`Encoding`."""
        text: str = self._tokenizer.decode(list(tokens), skip_special_tokens=False)
        return text


def _tokenizer(folder: Path) -> Any:
    try:
        import tokenizers
    except ImportError:
        raise DataError(
            "to read a tokenizer's files, install tokenizers: pip install tokenizers."
        ) from None
    whole, vocabulary, merges = (
        folder / name for name in ("tokenizer.json", "vocab.json", "merges.txt")
    )
    try:
        if whole.is_file():
            return tokenizers.Tokenizer.from_file(str(whole))
        if vocabulary.is_file() and merges.is_file():
            pair = str(vocabulary), str(merges)
            return tokenizers.ByteLevelBPETokenizer.from_file(*pair)
    except Exception as error:  # plain Exceptions, of its Rust core
        raise DataError(f"{folder}: the tokenizer cannot be read: {error}") from None
    raise DataError(
        f"no tokenizer in {folder}: neither tokenizer.json nor vocab.json and "
        "merges.txt."
    )


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def _smallest(tokens: Any, size: int) -> np.ndarray:
    return np.asarray(tokens, np.min_scalar_type(size - 1))
