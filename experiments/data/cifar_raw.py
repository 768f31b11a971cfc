"""The two forms in which the files of CIFAR are published.

The Python form is a pickle of protocol 2: a dictionary with the pixels as an array,
an image a row, and the labels as a list. The binary form has a row an image: its label
(of CIFAR-100 the coarse one before it), then the pixels. Either has the pixels of an
image as a plane of 32 × 32 for red, green and blue each, row by row.
"""

import io
import pickle
from typing import Any

import numpy as np

SIZE = 32
_PIXELS = 3 * SIZE * SIZE


class _ArraysAlone(pickle.Unpickler):
    """What unpickles arrays, and containers of numbers and bytes; it calls no more."""

    _ALLOWED = (
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),  # of bytes, as Python 3 pickles them for Python 2
    )

    def find_class(self, module: str, name: str) -> Any:
        """One of the few that an array needs.

        Raises:
          UnpicklingError: any other.
        """
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        current = module.replace("numpy.core", "numpy._core")
        return super().find_class(current, name)


def from_pickle(contents: bytes, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Images ``[n, 32, 32, 3]`` and labels ``[n]``, uint8, of the Python form.

    Only arrays, containers, numbers and bytes are unpickled.

    Raises:
      ValueError: it is anything else; the message says in what.
    """
    try:
        batch = _ArraysAlone(io.BytesIO(contents), encoding="bytes").load()
    except Exception as error:  # a damaged pickle may raise anything
        raise ValueError(f"it is no pickle of arrays alone ({error})") from None
    key = b"labels" if classes == 10 else b"fine_labels"
    if not isinstance(batch, dict) or not {b"data", key} <= batch.keys():
        raise ValueError(f"it has no data and {key.decode()}")
    rows, labels = batch[b"data"], np.asarray(batch[key])
    return _images(rows, labels, classes)


def from_binary(contents: bytes, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """The same of the binary form.

    Raises:
      ValueError: it is anything else; the message says in what.
    """
    before = 1 if classes == 10 else 2
    if len(contents) % (before + _PIXELS):
        raise ValueError(
            f"its {len(contents):,} bytes are no rows of {before + _PIXELS}"
        )
    rows = np.frombuffer(contents, np.uint8).reshape(-1, before + _PIXELS)
    return _images(rows[:, before:], rows[:, before - 1], classes)


def _images(
    rows: np.ndarray, labels: np.ndarray, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    if getattr(rows, "dtype", None) != np.uint8 or rows.shape[1:] != (_PIXELS,):
        raise ValueError(f"its data are not rows of {_PIXELS} bytes")
    planes = rows.reshape(-1, 3, SIZE, SIZE)
    if labels.dtype.kind not in "iu" or (labels != labels.astype(np.uint8)).any():
        raise ValueError(f"its labels are not all 0 … {classes - 1}")
    images = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
    return checked(images, labels.astype(np.uint8), classes, len(images))


def checked(
    images: np.ndarray, labels: np.ndarray, classes: int, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Both, if they are so many images and their labels.

    Raises:
      ValueError: they are not; the message says in what.
    """
    for name, array, shape in (
        ("images", images, (count, SIZE, SIZE, 3)),
        ("labels", labels, (count,)),
    ):
        if array.dtype != np.uint8 or array.shape != shape:
            raise ValueError(
                f"its {name} are {array.dtype} {array.shape}, not uint8 {shape}"
            )
    if labels.max(initial=0) >= classes:
        raise ValueError(f"its labels are not all 0 … {classes - 1}")
    return images, labels
