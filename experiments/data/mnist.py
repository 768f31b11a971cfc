"""MNIST: 70,000 handwritten digits, read from the four original IDX files.

Source: LeCun, Cortes and Burges, The MNIST database of handwritten digits (1998).
Sizes, checksums and addresses are those that TensorFlow Datasets has registered.
"""

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from experiments.data.source import DataFile, damaged_file, locate

_ADDRESS = "https://storage.googleapis.com/cvdf-datasets/mnist/"


def _file(name: str, size: int, sha256: str) -> DataFile:
    return DataFile(name, sha256, _ADDRESS + name, size)


_ARRAYS: dict[str, tuple[DataFile, tuple[int, ...]]] = {
    "train_images": (
        _file(
            "train-images-idx3-ubyte.gz",
            9_912_422,
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        ),
        (60_000, 28, 28),
    ),
    "train_labels": (
        _file(
            "train-labels-idx1-ubyte.gz",
            28_881,
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        ),
        (60_000,),
    ),
    "test_images": (
        _file(
            "t10k-images-idx3-ubyte.gz",
            1_648_877,
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        ),
        (10_000, 28, 28),
    ),
    "test_labels": (
        _file(
            "t10k-labels-idx1-ubyte.gz",
            4_542,
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
        (10_000,),
    ),
}


def load_mnist(
    data_dir: Path | None = None, *, download: bool = False
) -> dict[str, np.ndarray]:
    """All images and labels, in file order.

    Args:
      data_dir: directory with the four ``.gz`` files, in it or in its folder
        ``mnist``. None: that of ``GROKFAST_DATA``, else the user's cache.
      download: fetch files that are missing; needs the extra ``tfds``.

    Returns:
      uint8 arrays, not writable: ``train_images`` [60000, 28, 28], ``train_labels``
      [60000], ``test_images`` [10000, 28, 28], ``test_labels`` [10000]. Pixels are
      0 (paper) … 255 (ink), labels 0 … 9.

    Raises:
      DataError: files are missing, damaged or others than the published ones, or could
        not be fetched.
    """
    files = [file for file, _ in _ARRAYS.values()]
    paths = locate("mnist", files, data_dir, download=download)
    return {
        name: _read(file, path, shape)
        for (name, (file, shape)), path in zip(_ARRAYS.items(), paths, strict=True)
    }


def _read(file: DataFile, path: Path, shape: tuple[int, ...]) -> np.ndarray:
    contents = path.read_bytes()
    try:
        array = parse_idx(contents, shape)
    except ValueError as error:
        raise damaged_file(file, path, str(error)) from None
    if hashlib.sha256(contents).hexdigest() != file.sha256:
        raise damaged_file(file, path, "its contents differ")
    return array


def parse_idx(contents: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """The uint8 array in a gzipped IDX file.

    The format: two zero bytes, 8 for "unsigned byte", the number of axes; the length
    of each axis as a big-endian 32-bit integer; the elements, last axis fastest.

    Args:
      contents: the bytes of the ``.gz`` file.
      shape: the shape that the array must have.

    Raises:
      ValueError: the file is anything else; the message says in what.
    """
    try:
        data = gzip.decompress(contents)
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"it is no intact gzip file ({error})") from None
    except EOFError:
        raise ValueError("it ends too early") from None
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
