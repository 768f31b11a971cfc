"""Texts to learn: Tiny Shakespeare, 1,115,394 characters of plays; or a file.

Source: Karpathy, The Unreasonable Effectiveness of Recurrent Neural Networks (2015),
and its public code, char-rnn. The checksum is of the file there.
"""

from pathlib import Path

from experiments.data.source import DataError, DataFile, locate
from experiments.files import expanded

_FILE = DataFile(
    "tinyshakespeare.txt",
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/"
    "input.txt",
    1_115_394,
    other_names=("input.txt", "tiny_shakespeare.txt"),
)


def load_shakespeare(data_dir: Path | None = None, *, download: bool = False) -> str:
    """The whole text.

    Args:
      data_dir: directory with ``tinyshakespeare.txt`` or ``input.txt``, packed or not,
        in it, in its folder ``tinyshakespeare`` or in any other folder of it. None:
        that of ``GROKFAST_DATA``, else the user's cache.
      download: fetch the file if it is missing; needs TensorFlow Datasets.

    Raises:
      DataError: the file is missing, damaged or another than the published one, or
        could not be fetched.
    """
    (located,) = locate("tinyshakespeare", [_FILE], data_dir, download=download)
    return located.read().decode("ascii")


def load_text(path: str) -> str:
    """The text of a file in UTF-8, its line ends as they are.

    Raises:
      DataError: it cannot be read.
    """
    try:
        return expanded(path).read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"text: {path} cannot be read: {error}") from None
