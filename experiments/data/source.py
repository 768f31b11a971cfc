"""Original data files: where they are looked for, what they must be, who fetches them.

All data sets share one directory: ``--data-dir``, else the environment variable
``GROKFAST_DATA``, else the user's cache. The files of a data set lie in the directory
itself, in a folder of it that has the name of the data set, or where other libraries
leave them (``MNIST/raw``), packed or not; those that are nowhere there are looked for a
folder deeper, and in archives of any name. A file is known by its contents, unpacked,
which must have the published checksum (files without one, and arrays prepared from
others, are checked for what they must hold instead). Downloads go through the download
manager of TensorFlow Datasets, which works without TensorFlow; a data set is put in
place file by file, each checked first and renamed last, so that nothing half-written is
ever read.
"""

import dataclasses
import hashlib
import os
import shlex
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import platformdirs

from experiments.data.packed import ARCHIVES, ENDINGS, Unreadable, may_hold, unpacked
from experiments.files import expanded, write_whole
from experiments.lock import acquired
from experiments.settings.files import DATA_VARIABLE

CHANGED = "its contents differ"
_LARGEST = 2**30

Place = TypeVar("Place")
Result = TypeVar("Result")


class DataError(ValueError):
    """A data set cannot be had; the message, of some lines, says why and what to do."""


@dataclasses.dataclass(frozen=True)
class DataFile:
    """One published file. Size and checksum are those of its contents, unpacked.

    Attributes:
      name: file name, unpacked.
      sha256: SHA-256, in hexadecimal digits; None if not published.
      url: where it is published: by itself, packed by gzip if the address ends in
        ``.gz``, or as the member ``name`` of an archive.
      size: bytes, None if not published.
      other_names: that it has elsewhere.
      archives: names of other archives that have it.
      md5: MD5, where that is what is published. Without a checksum it is known by its
        size, and without that by what the reader says of its contents.
    """

    name: str
    sha256: str | None
    url: str
    size: int | None = None
    other_names: tuple[str, ...] = ()
    archives: tuple[str, ...] = ()
    md5: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All its names."""
        return self.name, *self.other_names

    @property
    def checksum(self) -> str | None:
        """The published one, if any."""
        return self.sha256 or self.md5

    @property
    def is_archived(self) -> bool:
        """Whether it is published in an archive."""
        return self.url.endswith(ARCHIVES)

    @property
    def fetched_name(self) -> str:
        """Of the file that is fetched, which is perhaps to be unpacked yet."""
        last = self.url.rsplit("/", 1)[-1]
        return last if last.endswith((".zip", ".gz")) else self.name

    def is_published(self, contents: bytes) -> bool:
        """Whether these are its contents, unpacked."""
        if self.checksum is None:
            return self.size in (None, len(contents))
        return self.digest(contents) == self.checksum

    def digest(self, contents: bytes) -> str:
        """Of any contents, what is published of its own."""
        by_md5 = self.sha256 is None and self.md5 is not None
        algorithm = hashlib.md5 if by_md5 else hashlib.sha256
        return algorithm(contents, usedforsecurity=False).hexdigest()

    def described(self, size: int | None, digest: str | None) -> str:
        """A size and a checksum in words."""
        name = "sha256" if self.sha256 or not self.md5 else "md5"
        parts = [] if size is None else [f"{size:,} bytes"]
        return ", ".join(parts + ([f"{name} {digest}"] if digest else []))

    def __str__(self) -> str:
        published = self.described(self.size, self.checksum)
        text = " or ".join(self.names)
        return f"{text} ({published})" if published else text


class Located(NamedTuple):
    """A file that is there, and not checked yet.

    Attributes:
      file: what it should be.
      paths: where it may be: itself, packed, or an archive.
    """

    file: DataFile
    paths: tuple[Path, ...]

    def read(self, explain: Callable[[bytes], str] = lambda _: CHANGED) -> bytes:
        """Its contents, unpacked: those of the first path that has the published ones.

        Args:
          explain: says of contents what is wrong with them; of files without a
            checksum nothing, if they are right.

        Raises:
          DataError: none has them.
        """
        return first_sound(self.paths, lambda path: _checked(self.file, path, explain))


def first_sound(places: Iterable[Place], read: Callable[[Place], Result]) -> Result:
    """What is read from the first of some places that is not damaged.

    A warning tells of those before it.

    Raises:
      DataError: all are damaged; it is the error of the first.
    """
    damaged: list[DataError] = []
    for place in places:
        try:
            found = read(place)
        except DataError as error:
            damaged.append(error)
        else:
            for unused in damaged:
                warnings.warn(f"not used: {unused}", stacklevel=4)
            return found
    raise damaged[0]


def data_directory(data_dir: Path | None = None) -> tuple[Path, str]:
    """The directory of all data sets, and what chose it.

    Raises:
      DataError: it is a file; or the user has no cache.
    """
    if data_dir is not None:
        return _no_file(expanded(data_dir), "--data-dir")
    if os.environ.get(DATA_VARIABLE):
        return _no_file(expanded(os.environ[DATA_VARIABLE]), DATA_VARIABLE)
    return cache_directory(), "the user's cache"


def _no_file(path: Path, chosen_by: str) -> tuple[Path, str]:
    if path.is_file():
        raise DataError(f"{chosen_by} must be a directory, got the file {path}.")
    return path, chosen_by


def cache_directory() -> Path:
    """The user's cache, where what is costly to prepare is kept as well.

    Raises:
      DataError: the user has none.
    """
    try:
        return platformdirs.user_cache_path("grokfast-jax", appauthor=False)
    except RuntimeError:  # as of an unknown user in a container
        raise DataError(
            "this user has no home directory, so no cache for data; "
            "set HOME or XDG_CACHE_HOME."
        ) from None


def places(dataset: str, data_dir: Path | None = None) -> list[Path]:
    """The directories in which the files of a data set are looked for, best first.

    Those of the other libraries follow: torchvision and PyTorch Geometric have ``raw``
    in a folder that has the data set's name in capitals.
    """
    root, _ = data_directory(data_dir)
    folders = ("", *_foreign(dataset))
    return [own / folder for folder in folders for own in (root / dataset, root)]


def _foreign(dataset: str) -> tuple[str, ...]:
    return "raw", dataset.upper(), f"{dataset.upper()}/raw"


def locate(
    dataset: str,
    files: Sequence[DataFile],
    data_dir: Path | None = None,
    *,
    download: bool = False,
) -> list[Located]:
    """Where the files of a data set are, fetched before if that is wanted.

    Args:
      dataset: name of the data set and of its folder.
      files: the files wanted. Those that are there are not checked here.
      data_dir: see :func:`data_directory`.
      download: fetch the files that are missing.

    Raises:
      DataError: files are missing; or they could not be fetched.
    """
    found = _find_all(dataset, files, data_dir)
    if download and not all(each.paths for each in found):
        target = places(dataset, data_dir)[0]
        target.mkdir(parents=True, exist_ok=True)
        with acquired(target / ".lock"):  # of two processes, one fetches
            found = _find_all(dataset, files, data_dir)
            if missing := [each.file for each in found if not each.paths]:
                _download(dataset, missing, target)
        found = _find_all(dataset, files, data_dir)
    if missing := [each.file for each in found if not each.paths]:
        raise missing_files(dataset, missing, data_dir)
    return found


def missing_files(
    dataset: str, missing: Sequence[DataFile], data_dir: Path | None = None
) -> DataError:
    """The error for files that are not there."""
    own, root = places(dataset, data_dir)[:2]
    chosen_by = data_directory(data_dir)[1]
    return DataError(
        "\n".join(
            [
                f"files of {dataset} are missing; looked in {own} and {root} "
                f"({chosen_by}), and there in {', '.join(_foreign(dataset))}, for",
                *(f"  {file}" for file in missing),
                f"or a folder deeper, as they are, packed ({', '.join(ENDINGS[1:])}), "
                f"or in an archive ({', '.join(ARCHIVES)}).",
                "Fetch them with --download (which needs: pip install "
                "tensorflow-datasets), or with",
                *_commands(missing, own),
                f"or let --data-dir or {DATA_VARIABLE} name a directory that has them.",
            ]
        )
    )


def damaged_file(
    file: DataFile, path: Path, problem: str, contents: bytes | None
) -> DataError:
    """The error for a file that is there but not the published one.

    Args:
      file: the file that it should be.
      path: where it is.
      problem: what is wrong with it.
      contents: its own, unpacked; None if it cannot be.
    """
    found = f"{path.stat().st_size:,} bytes"
    if contents is not None:
        of_contents = file.described(len(contents), file.digest(contents))
        found += f"; its contents {of_contents}"
    target = path.parent / file.fetched_name
    return DataError(
        "\n".join(
            [
                f"{path} is not the published file: {problem}.",
                f"  found  {path.name} ({found})",
                f"  wanted {file}, packed or not",
                "Put the published file in its place with",
                *([_delete(path)] if path != target else []),
                *_commands([file], path.parent),
                "or delete it, and --download will fetch it (it fetches only what is "
                "missing):",
                _delete(path),
            ]
        )
    )


def _checked(file: DataFile, path: Path, explain: Callable[[bytes], str]) -> bytes:
    try:
        contents = unpacked(path, file.names)
    except Unreadable as error:
        raise damaged_file(file, path, str(error), None) from None
    # Without a checksum and a size only the reader can tell.
    told = file.checksum is None and file.size is None
    problem = "" if not told and file.is_published(contents) else explain(contents)
    if problem:
        raise damaged_file(file, path, problem, contents)
    return contents


def _find(dataset: str, file: DataFile, data_dir: Path | None) -> tuple[Path, ...]:
    """All that may be the file, in the order in which they are to be tried."""
    archives = [f"{dataset}{ending}" for ending in ARCHIVES] + list(file.archives)
    if file.is_archived:
        archives.append(file.fetched_name)
    found = []
    for place in places(dataset, data_dir):
        found += [place / name for name in _alone(file) if (place / name).is_file()]
        for path in (place / name for name in dict.fromkeys(archives)):
            if path.is_file() and may_hold(path, file.names):
                found.append(path)
    return tuple(found or _elsewhere(dataset, file, data_dir))


def _alone(file: DataFile) -> list[str]:
    return [f"{name}{ending}" for name in file.names for ending in ENDINGS]


def _elsewhere(dataset: str, file: DataFile, data_dir: Path | None) -> Iterator[Path]:
    """A folder deeper, or in an archive of another name; only where it is sound.

    Another data set may have files of these names, as Fashion-MNIST has those of MNIST.
    """
    for place in filter(Path.is_dir, places(dataset, data_dir)):
        there = sorted(path for path in place.iterdir() if path.name[0] != ".")
        folders = [path for path in there if path.is_dir()]
        # Kaggle has a folder for each file, of its name in one of the spellings.
        folders += [path / name for path in folders for name in file.names]
        candidates = [path / name for path in folders for name in _alone(file)]
        candidates += [path for path in there if _is_small_archive(path)]
        for path in candidates:
            if path.is_file() and may_hold(path, file.names) and _is_sound(file, path):
                yield path


def _is_small_archive(path: Path) -> bool:
    """All of an archive is read to find what is in it."""
    return path.name.endswith(ARCHIVES) and path.stat().st_size <= _LARGEST


def _is_sound(file: DataFile, path: Path) -> bool:
    try:
        return file.is_published(unpacked(path, file.names))
    except Unreadable:
        return False


def _find_all(
    dataset: str, files: Sequence[DataFile], data_dir: Path | None
) -> list[Located]:
    return [Located(file, _find(dataset, file, data_dir)) for file in files]


def _commands(files: Sequence[DataFile], target: Path) -> list[str]:
    """Shell commands that put the files into the directory ``target``."""
    lines = {}  # by address: an archive with several of the files is fetched once
    for file in files:
        quoted = shlex.quote(str(target / file.fetched_name))
        line = f"  curl -fL --create-dirs -o {quoted} {shlex.quote(file.url)}"
        lines[file.url] = line
    return list(lines.values())


def _delete(path: Path) -> str:
    return f"  rm {shlex.quote(str(path))}"


def _download(dataset: str, files: Sequence[DataFile], target: Path) -> None:
    """Fetch files into ``target`` with TensorFlow Datasets' download manager.

    It knows MNIST by checksums of its own; all files are checked here as well, and
    written unpacked. What the user has put into its manual directory,
    ``downloads/manual`` beside ``target``, under the names that it knows is taken from
    there. Tests fetch from there and from a server on this machine; the published
    addresses are not tried by any test. Without a network TFDS tries eleven times
    before it gives up, in 3.5 minutes.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        raise DataError(
            f"to download {dataset}, install TensorFlow Datasets: "
            "pip install tensorflow-datasets (TensorFlow itself is not needed)."
        ) from None
    manual = target.parent / "downloads" / "manual"
    # A directory of its own each time: TFDS would take a wrong file from its last one.
    with tempfile.TemporaryDirectory(dir=target, prefix=".download-") as temporary:
        manager = tfds.download.DownloadManager(
            download_dir=temporary, manual_dir=manual, dataset_name=dataset
        )
        for file in files:
            try:
                contents = _published_contents(file, Path(manager.download(file.url)))
            except Exception as error:  # TFDS, requests and zipfile: no common base
                raise _failed(dataset, file, target, manual, error) from error
            write_whole(target / file.name, contents)


def _published_contents(file: DataFile, path: Path) -> bytes:
    contents = unpacked(path, file.names)
    if not file.is_published(contents):
        found = file.described(len(contents), file.digest(contents))
        raise ValueError(f"it gave {found}")
    return contents


def _failed(
    dataset: str, file: DataFile, target: Path, manual: Path, error: Exception
) -> DataError:
    advice = ["Try again later, or with"]
    taken = manual / file.fetched_name
    if str(taken) in str(error):  # then no later try will help
        advice = [
            f"It was taken from {taken}, which is another file. Delete that and try "
            "again:",
            _delete(taken),
            "or fetch the file with",
        ]
    return DataError(
        "\n".join(
            [
                f"{dataset}: {file.url} could not be downloaded: {error}",
                f"  wanted {file}",
                *advice,
                *_commands([file], target),
            ]
        )
    )
