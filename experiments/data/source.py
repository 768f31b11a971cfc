"""Original data files: where they are looked for, what they must be, who fetches them.

All data sets share one directory: ``--data-dir``, else the environment variable
``GROKFAST_DATA``, else the user's cache. The files of a data set lie in the directory
itself or in a folder of it that has the name of the data set. A file counts only if it
has the published SHA-256 (arrays prepared from such files are checked for what they
must hold instead). Downloads go through the download manager of TensorFlow
Datasets, which works without TensorFlow; a data set is put in place file by file, each
checked first and renamed last, so that nothing half-written is ever read.
"""

import dataclasses
import hashlib
import os
import shlex
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import filelock
import platformdirs

from experiments.files import write_whole
from experiments.settings.files import DATA_VARIABLE


class DataError(ValueError):
    """A data set cannot be had; the message, of some lines, says why and what to do."""


@dataclasses.dataclass(frozen=True)
class DataFile:
    """One published file.

    Attributes:
      name: file name.
      sha256: SHA-256 of its contents, in hexadecimal digits.
      url: where it is published; of a ``.zip``, the file is the member ``name``.
      size: bytes, None if not published.
    """

    name: str
    sha256: str
    url: str
    size: int | None = None

    def __str__(self) -> str:
        size = "" if self.size is None else f"{self.size:,} bytes, "
        return f"{self.name} ({size}sha256 {self.sha256})"


def data_directory(data_dir: Path | None = None) -> tuple[Path, str]:
    """The directory of all data sets, and what chose it."""
    if data_dir is not None:
        return Path(data_dir).expanduser(), "--data-dir"
    if os.environ.get(DATA_VARIABLE):
        return Path(os.environ[DATA_VARIABLE]).expanduser(), DATA_VARIABLE
    return cache_directory(), "the user's cache"


def cache_directory() -> Path:
    """The user's cache, where what is costly to prepare is kept as well."""
    return platformdirs.user_cache_path("grokfast-jax", appauthor=False)


def places(dataset: str, data_dir: Path | None = None) -> tuple[Path, Path]:
    """The two directories in which the files of a data set are looked for."""
    root, _ = data_directory(data_dir)
    return root / dataset, root


def locate(
    dataset: str,
    files: Sequence[DataFile],
    data_dir: Path | None = None,
    *,
    download: bool = False,
) -> list[Path]:
    """Paths of the files of a data set, fetched before if that is wanted.

    Args:
      dataset: name of the data set and of its folder.
      files: the files wanted. Those that are there are not checked here.
      data_dir: see :func:`data_directory`.
      download: fetch the files that are missing.

    Raises:
      DataError: files are missing; or they could not be fetched.
    """
    if download and _missing(dataset, files, data_dir):
        target = places(dataset, data_dir)[0]
        target.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(target / ".lock"):  # of two processes, one fetches
            if missing := _missing(dataset, files, data_dir):
                _download(dataset, missing, target)
    found = [_find(dataset, file, data_dir) for file in files]
    if missing := [f for f, path in zip(files, found, strict=True) if path is None]:
        raise missing_files(dataset, missing, data_dir)
    return [path for path in found if path is not None]


def missing_files(
    dataset: str, missing: Sequence[DataFile], data_dir: Path | None = None
) -> DataError:
    """The error for files that are not there."""
    looked_in = places(dataset, data_dir)
    chosen_by = data_directory(data_dir)[1]
    return DataError(
        "\n".join(
            [
                f"files of {dataset} are missing; looked in {looked_in[0]} and "
                f"{looked_in[1]} ({chosen_by}) for",
                *(f"  {file}" for file in missing),
                "Fetch them with --download (which needs: pip install "
                "'grokfast-jax[tfds]'), or with",
                *_commands(missing, looked_in[0]),
                f"or let --data-dir or {DATA_VARIABLE} name a directory that has them.",
            ]
        )
    )


def check(file: DataFile, path: Path) -> None:
    """Raise DataError unless the file at ``path`` is the published one."""
    with path.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if digest != file.sha256:
        raise damaged_file(file, path, "its contents differ")


def damaged_file(file: DataFile, path: Path, problem: str) -> DataError:
    """The error for a file that is there but not the published one.

    Args:
      file: the file that it should be.
      path: where it is.
      problem: what is wrong with it.
    """
    contents = path.read_bytes()
    found = f"{len(contents):,} bytes, sha256 {hashlib.sha256(contents).hexdigest()}"
    return DataError(
        "\n".join(
            [
                f"{path} is not the published file: {problem}.",
                f"  found  {path.name} ({found})",
                f"  wanted {file}",
                "Put the published file in its place with",
                *_commands([file], path.parent),
                "or delete it, and --download will fetch it (it fetches only what is "
                "missing):",
                f"  rm {shlex.quote(str(path))}",
            ]
        )
    )


def _find(dataset: str, file: DataFile, data_dir: Path | None) -> Path | None:
    candidates = (place / file.name for place in places(dataset, data_dir))
    return next((path for path in candidates if path.is_file()), None)


def _missing(
    dataset: str, files: Sequence[DataFile], data_dir: Path | None
) -> list[DataFile]:
    return [file for file in files if _find(dataset, file, data_dir) is None]


def _commands(files: Sequence[DataFile], target: Path) -> list[str]:
    """Shell commands that put the files into the directory ``target``."""
    lines = {}  # by address: an archive with several of the files is fetched once
    for file in files:
        archived = file.url.endswith(".zip")
        path = target / (file.url.rsplit("/", 1)[1] if archived else file.name)
        quoted = shlex.quote(str(path))
        line = f"  curl -fL --create-dirs -o {quoted} {shlex.quote(file.url)}"
        if archived:
            line += f" && unzip -o {quoted} -d {shlex.quote(str(target))}"
        lines[file.url] = line
    return list(lines.values())


def _download(dataset: str, files: Sequence[DataFile], target: Path) -> None:
    """Fetch files into ``target`` with TensorFlow Datasets' download manager.

    It knows MNIST by checksums of its own; all files are checked here as well. What
    the user has put into its manual directory, ``downloads/manual`` beside ``target``,
    under the names that it knows is taken from there. Tests fetch from there and from
    a server on this machine; the published addresses are not tried by any test.
    Without a network TFDS tries eleven times before it gives up, in 3.5 minutes.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        raise DataError(
            f"to download {dataset}, install TensorFlow Datasets: "
            "pip install 'grokfast-jax[tfds]' (TensorFlow itself is not needed)."
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
    if file.url.endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            contents = archive.read(file.name)
    else:
        contents = path.read_bytes()
    digest = hashlib.sha256(contents).hexdigest()
    if digest != file.sha256:
        raise ValueError(f"it gave {len(contents):,} bytes, sha256 {digest}")
    return contents


def _failed(
    dataset: str, file: DataFile, target: Path, manual: Path, error: Exception
) -> DataError:
    advice = ["Try again later, or with"]
    taken = manual / file.name
    if str(taken) in str(error):  # then no later try will help
        advice = [
            f"It was taken from {taken}, which is another file. Delete that and try "
            "again:",
            f"  rm {shlex.quote(str(taken))}",
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
