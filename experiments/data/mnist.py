"""MNIST: 70,000 handwritten digits, read from the four original IDX files.

Source: LeCun, Cortes and Burges, The MNIST database of handwritten digits (1998). The
addresses are those that TensorFlow Datasets has registered; sizes and checksums are of
what is packed there.
"""

import concurrent.futures
import math
import struct
from pathlib import Path

import numpy as np

from experiments.data.source import CHANGED, DataFile, Located, locate

_ADDRESS = "https://storage.googleapis.com/cvdf-datasets/mnist/"


def _file(name: str, size: int, sha256: str) -> DataFile:
    """Both spellings: archives of MNIST elsewhere have a dot before ``idx``."""
    dotted = name.replace("-idx", ".idx")
    return DataFile(name, sha256, f"{_ADDRESS}{name}.gz", size, (dotted,))


_ARRAYS: dict[str, tuple[DataFile, tuple[int, ...]]] = {
    "train_images": (
        _file(
            "train-images-idx3-ubyte",
            47_040_016,
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        (60_000, 28, 28),
    ),
    "train_labels": (
        _file(
            "train-labels-idx1-ubyte",
            60_008,
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        (60_000,),
    ),
    "test_images": (
        _file(
            "t10k-images-idx3-ubyte",
            7_840_016,
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        (10_000, 28, 28),
    ),
    "test_labels": (
        _file(
            "t10k-labels-idx1-ubyte",
            10_008,
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        (10_000,),
    ),
}


def load_mnist(
    data_dir: Path | None = None, *, download: bool = False
) -> dict[str, np.ndarray]:
    """All images and labels, in file order.

    Args:
      data_dir: directory with the four files, packed or not, in it, in its folder
        ``mnist`` or in ``MNIST/raw``. None: that of ``GROKFAST_DATA``, else the user's
        cache.
      download: fetch files that are missing; needs TensorFlow Datasets.

    Returns:
      uint8 arrays, not writable: ``train_images`` [60000, 28, 28], ``train_labels``
      [60000], ``test_images`` [10000, 28, 28], ``test_labels`` [10000]. Pixels are
      0 (paper) … 255 (ink), labels 0 … 9.

    Raises:
      DataError: files are missing, damaged or others than the published ones, or could
        not be fetched.
    """
    files, shapes = zip(*_ARRAYS.values(), strict=True)
    located = locate("mnist", files, data_dir, download=download)
    with concurrent.futures.ThreadPoolExecutor() as pool:  # unpacking releases the GIL
        return dict(zip(_ARRAYS, pool.map(_read, located, shapes), strict=True))


def _read(located: Located, shape: tuple[int, ...]) -> np.ndarray:
    return parse_idx(located.read(lambda contents: _problem(contents, shape)), shape)


def _problem(contents: bytes, shape: tuple[int, ...]) -> str:
    try:
        parse_idx(contents, shape)
    except ValueError as error:
        return str(error)
    return CHANGED


def parse_idx(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """The uint8 array in an IDX file.

    The format: two zero bytes, 8 for "unsigned byte", the number of axes; the length
    of each axis as a big-endian 32-bit integer; the elements, last axis fastest.

    Args:
      data: the bytes of the file, unpacked.
      shape: the shape that the array must have.

    Raises:
      ValueError: the file is anything else; the message says in what.
    """
    header = 4 * (1 + len(shape))
    if len(data) < header:
        raise ValueError(f"it has {len(data)} bytes, less than the header's {header}")
    magic, *lengths = struct.unpack_from(f">{1 + len(shape)}I", data)
    wanted = 0x0800 + len(shape)
    if magic != wanted:
        raise ValueError(f"its magic number is {magic:#010x}, not {wanted:#010x}")
    if tuple(lengths) != shape:
        raise ValueError(f"its array has the shape {tuple(lengths)}, not {shape}")
    elements = len(data) - header
    if elements != math.prod(shape):
        raise ValueError(f"it holds {elements:,} elements, not {math.prod(shape):,}")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)
