"""Images in class folders, ImageNet's for example, decoded once to a chosen size.

A data set is ``train/CLASS/NAME.jpeg`` and ``val/CLASS/NAME.jpeg`` (JPEG or PNG) in the
data directory or its folder. Every image is shrunk until its shorter side has the
chosen size, its middle is cut out, and all are kept in the user's cache as one array of
uint8, which is mapped into memory. The array's name has the names, sizes and times of
the images: it is made anew when one has changed.
"""

import contextlib
import hashlib
import io
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.data.source import (
    DataError,
    cache_directory,
    data_directory,
    places,
)
from experiments.files import write_whole
from experiments.lock import acquired
from experiments.settings.files import DATA_VARIABLE

TRAIN, VALIDATION = "train", "val"
ENDINGS = (".jpeg", ".jpg", ".png")

SECONDS_BETWEEN_LINES = 10.0
_AT_ONCE = 1024  # images that wait for those before them, at most


class ImageArrays(NamedTuple):
    """Images, those to train on first and in random order.

    Attributes:
      images: ``[n, S, S, 3]``, uint8, read from the disk where they are used.
      labels: numbers of their classes in the order of the names, ``[n]``, int32.
      train: how many are to train on.
    """

    images: np.ndarray
    labels: np.ndarray
    train: int


class _File(NamedTuple):
    path: str
    label: int
    stamp: str  # changes when the image does


def load_image_folder(
    dataset: str, classes: int, size: int, data_dir: Path | None = None
) -> ImageArrays:
    """The images of the first ``classes`` classes, by the names of their folders.

    The order of those to train on depends on nothing but how many they are.

    Args:
      dataset: name of the data set and of its folder.
      classes: how many, no more than ``train`` has folders.
      size: pixels of a side.
      data_dir: directory with ``train`` and ``val``, or with a folder of the data set's
        name that has them. None: that of ``GROKFAST_DATA``, else the user's cache.

    Raises:
      DataError: images or classes are missing, an image is damaged, classes of ``val``
        are none of ``train``; Pillow is not installed.
    """
    folder = _folder(dataset, data_dir)
    known, validated = (_subfolders(folder / part) for part in (TRAIN, VALIDATION))
    if len(known) < classes:
        raise DataError(
            f"{classes:,} classes wanted, {folder / TRAIN} has folders of "
            f"{len(known):,}: --classes {len(known)}."
        )
    if unknown := [name for name in validated if name not in set(known)]:
        raise DataError(
            f"{folder / VALIDATION} has classes that {folder / TRAIN} lacks: "
            f"{_some(unknown)}."
        )
    names = known[:classes]
    if not (seen := [name for name in names if name in set(validated)]):
        raise DataError(
            f"{folder / VALIDATION} has none of the {classes:,} classes {_some(names)}."
        )
    numbers = {name: number for number, name in enumerate(names)}
    train = list(_files(folder / TRAIN, names, numbers))
    mixed = np.argsort(np.random.PCG64(len(train)).random_raw(len(train)))
    files = [train[i] for i in mixed]
    files += _files(folder / VALIDATION, seen, numbers)
    labels = np.array([file.label for file in files], np.int32)
    return ImageArrays(_images(dataset, folder, files, size), labels, len(train))


def _folder(dataset: str, data_dir: Path | None) -> Path:
    """The first directory that has images to train on."""
    looked = places(dataset, data_dir)
    for place in looked:
        if (place / TRAIN).is_dir():
            return place
    chosen_by = data_directory(data_dir)[1]
    raise DataError(
        f"images of {dataset} are missing; looked in {looked[0]} and {looked[1]} "
        f"({chosen_by}) for the folders {TRAIN} and {VALIDATION}, each with a folder "
        f"of images ({', '.join(ENDINGS)}) for every class.\nThey cannot be fetched: "
        "who publishes them gives them to those who ask. Put them there, or let "
        f"--data-dir or {DATA_VARIABLE} name a directory that has them."
    )


def _subfolders(folder: Path) -> list[str]:
    """Names of the class folders, sorted."""
    if not folder.is_dir():
        raise DataError(f"{folder} is missing, or no directory.")
    with os.scandir(folder) as entries:
        found = [e.name for e in entries if e.is_dir() and not e.name.startswith(".")]
    if not found:
        raise DataError(
            f"{folder} has no class folders: {folder / 'CLASS' / 'NAME.jpeg'} is where "
            "images must be, each in the folder of its class."
        )
    return sorted(found)


def _files(
    folder: Path, names: Sequence[str], numbers: dict[str, int]
) -> Iterator[_File]:
    """The images of some classes, sorted by class and name."""
    for name in names:
        with os.scandir(folder / name) as entries:
            found = sorted(
                (e for e in entries if e.name.lower().endswith(ENDINGS)),
                key=lambda entry: entry.name,
            )
        if not found:
            raise DataError(
                f"{folder / name} has no images ({', '.join(ENDINGS)}): a class needs "
                "one at least."
            )
        for entry in found:
            there = entry.stat()
            own = f"{folder.name}/{name}/{entry.name}"
            stamp = f"{own} {there.st_size} {there.st_mtime_ns}\n"
            yield _File(entry.path, numbers[name], stamp)


def _images(
    dataset: str, folder: Path, files: Sequence[_File], size: int
) -> np.ndarray:
    """The images from the cache, decoded before if they are not there."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.stamp.encode(errors="surrogateescape"))
    place = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:8]
    classes = 1 + max(file.label for file in files)
    cache = cache_directory() / dataset
    prefix = f"{place}_{classes}_classes_{size}_pixels_"
    target = cache / f"{prefix}{digest.hexdigest()[:16]}.npy"
    shape = len(files), size, size, 3
    if (found := _mapped(target, shape)) is not None:
        return found
    _check_pillow()
    cache.mkdir(parents=True, exist_ok=True)
    with acquired(cache / ".lock"):  # of two processes, one decodes
        if (found := _mapped(target, shape)) is not None:
            return found
        for old in cache.glob(f"{prefix}*"):
            with contextlib.suppress(OSError):  # as of one that another process reads
                old.unlink()
        write_whole(target, _contents(files, size))
    return np.asarray(np.lib.format.open_memmap(target, mode="r"))


def _mapped(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """An array on the disk; None if it is not there, or another."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        array = np.lib.format.open_memmap(path, mode="r")
        if array.shape == shape and array.dtype == np.uint8:
            return np.asarray(array)
    return None


def _contents(files: Sequence[_File], size: int) -> Iterator[bytes]:
    """The parts of the array's file; a line now and then tells how many are done."""
    header = io.BytesIO()
    shape = len(files), size, size, 3
    described = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, described)
    yield header.getvalue()
    last = time.monotonic()
    with ThreadPoolExecutor() as pool:  # Pillow lets other threads run meanwhile
        for start in range(0, len(files), _AT_ONCE):
            paths = [file.path for file in files[start : start + _AT_ONCE]]
            yield from pool.map(lambda path: decoded(path, size), paths)
            if time.monotonic() - last > SECONDS_BETWEEN_LINES:
                done = start + len(paths)
                print(f"{done:,} of {len(files):,} images decoded", file=sys.stderr)
                last = time.monotonic()


def decoded(path: str, size: int) -> bytes:
    """The pixels of an image's middle, ``[size, size, 3]``, its shorter side shrunk.

    Raises:
      DataError: it is damaged, or cannot be read.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            image.draft("RGB", (2 * size, 2 * size))  # of JPEG, no more than is needed
            middle = ImageOps.fit(
                image.convert("RGB"), (size, size), Image.Resampling.BICUBIC
            )
            return middle.tobytes()
    except Exception as error:  # Pillow's and its decoders': no common base
        raise DataError(
            f"{path} is damaged, or no image: {error}.\nReplace it, or delete it."
        ) from None


def _check_pillow() -> None:
    try:
        import PIL  # noqa: F401
    except ImportError:
        raise DataError("to read images, install Pillow: pip install pillow.") from None


def _some(names: Sequence[str]) -> str:
    rest = f", … ({len(names):,} in all)" if len(names) > 5 else ""
    return ", ".join(names[:5]) + rest
