"""CIFAR-10 and CIFAR-100: 60,000 colour images of 32 × 32 pixels.

Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009). The
original archives come in two forms. The files of the Python form are pickles, known by
their published MD5; those of the binary form, of which none is published, by size and
structure. What is read from either is kept in the user's cache as prepared arrays,
``cifar10_50k_10k.npz``: reading them again takes a second, unpacking an archive twenty.
Prepared arrays of fewer images, ``cifar10_<n>k_<m>k.npz``, will do for as many.
"""

import contextlib
import io
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from experiments.data.cifar_raw import checked, from_binary, from_pickle
from experiments.data.source import (
    CHANGED,
    DataError,
    DataFile,
    Located,
    cache_directory,
    damaged_file,
    first_sound,
    locate,
    places,
)
from experiments.files import write_whole
from experiments.lock import acquired

TRAIN, TEST = 50_000, 10_000
"""Numbers of images of either data set."""
CLASSES = {"cifar10": 10, "cifar100": 100}
NAMES = ("train_images", "train_labels", "test_images", "test_labels")

_ADDRESS = "https://www.cs.toronto.edu/~kriz/"
_MD5 = {
    "cifar10": {
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7cd5c",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    },
    "cifar100": {
        "train": "16019d7e3df5f24257cddd939b257f8d",
        "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
    },
}
_ARCHIVES = {"cifar10": "cifar-10", "cifar100": "cifar-100"}

Arrays = dict[str, np.ndarray]
Parse = Callable[[bytes, int], tuple[np.ndarray, np.ndarray]]


def pickled_files(dataset: str) -> list[DataFile]:
    """The files of the Python form: those to train on in their order, then the test."""
    archive = f"{_ARCHIVES[dataset]}-python.tar.gz"
    return [
        DataFile(name, None, _ADDRESS + archive, archives=(archive,), md5=md5)
        for name, md5 in _MD5[dataset].items()
    ]


def binary_files(dataset: str) -> list[DataFile]:
    """The same of the binary form."""
    archive = f"{_ARCHIVES[dataset]}-binary.tar.gz"
    names, pixels = list(_MD5[dataset]), 3 * 32 * 32
    labels = 1 if dataset == "cifar10" else 2
    images = [TRAIN // (len(names) - 1)] * (len(names) - 1) + [TEST]
    return [
        DataFile(
            f"{name}.bin",
            None,
            _ADDRESS + archive,
            count * (labels + pixels),
            archives=(archive,),
        )
        for name, count in zip(names, images, strict=True)
    ]


def load_cifar(
    dataset: str,
    train: int = TRAIN,
    test: int = TEST,
    data_dir: Path | None = None,
    *,
    download: bool = False,
) -> Arrays:
    """The first ``train`` and ``test`` images and labels, in file order.

    Args:
      dataset: ``cifar10`` or ``cifar100``.
      train: images to train on, 1 … 50,000.
      test: images to test with, 1 … 10,000.
      data_dir: directory with prepared arrays, or with the original files, packed or
        not, in it, in its folder ``cifar10`` or in ``cifar-10-batches-py``. None: that
        of ``GROKFAST_DATA``, else the user's cache.
      download: fetch files that are missing; needs TensorFlow Datasets.

    Returns:
      uint8 arrays: ``train_images`` [train, 32, 32, 3], ``train_labels`` [train],
      ``test_images`` and ``test_labels``. Labels of CIFAR-100 are the fine ones.

    Raises:
      ValueError: another data set, or a number out of its range.
      DataError: files are missing, damaged or others than the published ones, or could
        not be fetched.
    """
    if dataset not in CLASSES:
        known = ", ".join(CLASSES)
        raise ValueError(f"dataset must be one of {known}, got {dataset!r}.")
    for name, count, most in (("train", train, TRAIN), ("test", test, TEST)):
        if not 1 <= count <= most:
            raise ValueError(f"{name} must be 1 … {most}, got {count}.")
    prepared = _prepared(dataset, data_dir)
    if enough := [p for p in prepared if p[0][0] >= train and p[0][1] >= test]:
        arrays = first_sound(enough, lambda each: _read(dataset, *each))
        return _first(arrays, train, test)
    try:
        arrays = _original(dataset, data_dir, download=download)
    except DataError as error:
        if not prepared:
            raise
        counts, path = max(prepared)
        raise DataError(
            f"{train:,} + {test:,} images of {dataset} wanted, {path} holds "
            f"{counts[0]:,} + {counts[1]:,}: --train-points {min(train, counts[0])} "
            f"--validation-points {min(test, counts[1])}; for more, {error}"
        ) from None
    return _first(arrays, train, test)


def _prepared(
    dataset: str, data_dir: Path | None
) -> list[tuple[tuple[int, int], Path]]:
    """Numbers of images and path of all prepared arrays, fewest first."""
    directories = [*places(dataset, data_dir), cache_directory() / dataset]
    found = {}
    for path in (p for d in directories for p in d.glob(f"{dataset}_*k_*k.npz")):
        if match := re.fullmatch(rf"{dataset}_(\d+)k_(\d+)k\.npz", path.name):
            found[path] = 1000 * int(match[1]), 1000 * int(match[2])
    return sorted((counts, path) for path, counts in found.items())


def _original(dataset: str, data_dir: Path | None, *, download: bool) -> Arrays:
    """All images from the original files, kept in the user's cache as well."""
    located, parse = _located(dataset, data_dir, download=download)
    parts = [_parsed(each, parse, CLASSES[dataset]) for each in located]
    images, labels = zip(*parts, strict=True)
    arrays = {
        "train_images": np.concatenate(images[:-1]),
        "train_labels": np.concatenate(labels[:-1]),
        "test_images": images[-1],
        "test_labels": labels[-1],
    }
    name = f"{dataset}_{TRAIN // 1000}k_{TEST // 1000}k.npz"
    target = cache_directory() / dataset / name
    target.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    with acquired(target.parent / ".lock"):
        write_whole(target, buffer.getvalue())
    return arrays


def _located(
    dataset: str, data_dir: Path | None, *, download: bool
) -> tuple[list[Located], Parse]:
    """The files of the form that is there, and what reads them.

    What is fetched, or told to be missing, is the form that has published checksums.
    """
    pickled, binary = pickled_files(dataset), binary_files(dataset)
    with contextlib.suppress(DataError):
        return locate(dataset, pickled, data_dir), from_pickle
    with contextlib.suppress(DataError):
        return locate(dataset, binary, data_dir), from_binary
    return locate(dataset, pickled, data_dir, download=download), from_pickle


def _parsed(
    located: Located, parse: Parse, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    contents = located.read(lambda contents: _problem(contents, parse, classes))
    try:
        return parse(contents, classes)
    except ValueError as error:  # of a file without a published checksum
        path = located.paths[0]
        raise damaged_file(located.file, path, str(error), contents) from None


def _problem(contents: bytes, parse: Parse, classes: int) -> str:
    try:
        parse(contents, classes)
    except ValueError as error:
        return str(error)
    return CHANGED


# What a damaged .npz raises; RuntimeError: it looks encrypted, or of a later format.
_DAMAGES = (ValueError, KeyError, EOFError, RuntimeError, BadZipFile, zlib.error)


def _read(dataset: str, counts: tuple[int, int], path: Path) -> Arrays:
    contents = io.BytesIO(path.read_bytes())
    try:
        with np.load(contents, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in NAMES}
        for part, count in zip(("train", "test"), counts, strict=True):
            images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
            checked(images, labels, CLASSES[dataset], count)
    except _DAMAGES as error:
        raise DataError(
            f"{path} is damaged, or not {counts[0]:,} + {counts[1]:,} prepared images "
            f"of {dataset}: {error}.\nDelete it: it is made anew from the original "
            "files, if they are there; or copy it again from where it came."
        ) from None
    return arrays


def _first(arrays: Arrays, train: int, test: int) -> Arrays:
    """The first images of the arrays, which may hold more."""
    counts = {"train": train, "test": test}
    return {name: arrays[name][: counts[name.split("_")[0]]] for name in NAMES}
