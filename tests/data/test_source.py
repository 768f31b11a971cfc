import dataclasses
import gzip
import hashlib
import io
import os
import re
import shutil
import struct
import sys
import tarfile
import zipfile

import numpy as np
import pytest

from experiments.commands import cli
from experiments.data import mnist
from experiments.data.mnist import load_mnist
from experiments.data.source import DataError
from tests.conftest import existing

pytestmark = pytest.mark.usefixtures("user_cache")

TRAIN_IMAGES = "train-images-idx3-ubyte"


def idx(array: np.ndarray) -> bytes:
    """An IDX file."""
    header = struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape)
    return header + array.tobytes()


def packed(contents: bytes) -> bytes:
    """By gzip, without the time of writing."""
    return gzip.compress(contents, mtime=0)


@pytest.fixture
def twin(tmp_path, monkeypatch):
    """A small MNIST that passes for the published one: its arrays and its folder."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    arrays, described = {}, {}
    for name, (file, shape) in mnist._ARRAYS.items():
        shape = (12 if "train" in name else 7, *shape[1:])
        array = rng.integers(0, 256 if len(shape) > 1 else 10, shape, np.uint8)
        contents = idx(array)
        (folder / f"{file.name}.gz").write_bytes(packed(contents))
        sha256 = hashlib.sha256(contents).hexdigest()
        file = dataclasses.replace(file, sha256=sha256, size=len(contents))
        arrays[name], described[name] = array, (file, shape)
    monkeypatch.setattr(mnist, "_ARRAYS", described)
    return arrays, folder


@pytest.fixture
def served(twin, server, monkeypatch):
    """The twin's arrays, and the pages of a server that has its files."""
    arrays, folder = twin
    address, pages = server
    described = {}
    for name, (file, shape) in mnist._ARRAYS.items():
        page = f"{file.name}.gz"
        pages[page] = (folder / page).read_bytes()
        described[name] = dataclasses.replace(file, url=address + page), shape
    monkeypatch.setattr(mnist, "_ARRAYS", described)
    return arrays, pages


def assert_equal(got, wanted):
    assert list(got) == list(wanted)
    for name, array in wanted.items():
        assert got[name].dtype == array.dtype
        np.testing.assert_array_equal(got[name], array, err_msg=name)


def test_the_real_mnist(real_data):
    data = load_mnist(real_data("mnist"))
    assert {name: (a.shape, a.dtype) for name, a in data.items()} == {
        "train_images": ((60_000, 28, 28), np.uint8),
        "train_labels": ((60_000,), np.uint8),
        "test_images": ((10_000, 28, 28), np.uint8),
        "test_labels": ((10_000,), np.uint8),
    }
    pixels = data["train_images"] / np.float32(255)
    assert pixels.mean(dtype=np.float64) == pytest.approx(0.1307, abs=5e-5)
    assert pixels.std(dtype=np.float64) == pytest.approx(0.3081, abs=5e-5)
    assert data["train_labels"][:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert data["test_labels"][:5].tolist() == [7, 2, 1, 0, 4]
    # A five is upright and not mirrored: its upper bar is on the right.
    bar = data["train_images"][0][5:9] > 128
    assert bar[:, 14:].sum() > bar[:, :14].sum()


def test_the_twin_from_every_place(twin, user_cache, monkeypatch):
    arrays, folder = twin
    assert_equal(load_mnist(folder), arrays)
    assert_equal(load_mnist(folder.parent), arrays)
    monkeypatch.setenv("GROKFAST_DATA", str(folder.parent))
    assert_equal(load_mnist(), arrays)
    with pytest.raises(DataError, match=r"elsewhere \(--data-dir\)"):
        load_mnist(folder / "elsewhere")  # goes before the variable
    monkeypatch.delenv("GROKFAST_DATA")
    shutil.copytree(folder.parent, user_cache)
    assert_equal(load_mnist(), arrays)


def gzipped_anew(contents, name):
    return {f"{name}.gz": gzip.compress(contents, 1, mtime=1)}


def dotted(contents, name):
    return {name.replace("-idx", ".idx"): contents}


def zipped(contents, name):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"archive/{name}", contents)
    return {f"{name}.zip": file.getvalue()}


FORMS = {
    "unpacked": lambda contents, name: {name: contents},
    "unpacked, with a dot": dotted,
    "unpacked by a browser": lambda contents, name: {f"{name}.gz": contents},
    "gzipped anew": gzipped_anew,
    "gzipped, with a dot": lambda c, n: gzipped_anew(c, n.replace("-idx", ".idx")),
    "zipped": zipped,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("place", "named"),
    [(".", "."), ("MNIST/raw", "."), ("MNIST/raw", "MNIST"), ("mnist/MNIST/raw", ".")],
)
def test_files_as_people_have_them(twin, tmp_path, form, place, named):
    arrays, folder = twin
    new = tmp_path / "new"
    (new / place).mkdir(parents=True)
    for path in folder.iterdir():
        contents = gzip.decompress(path.read_bytes())
        for name, data in FORMS[form](contents, path.stem).items():
            (new / place / name).write_bytes(data)
    assert_equal(load_mnist(new / named), arrays)


@pytest.mark.parametrize("name", ["mnist.zip", "mnist.tar.gz", "mnist.tar"])
def test_an_archive_of_all_files(twin, tmp_path, name):
    arrays, folder = twin
    new = tmp_path / "new"
    new.mkdir()
    if name.endswith(".zip"):
        with zipfile.ZipFile(new / name, "w") as archive:
            for path in folder.iterdir():
                unpacked = gzip.decompress(path.read_bytes())
                archive.writestr(f"a/{path.stem.replace('-idx', '.idx')}", unpacked)
    else:
        (folder / TRAIN_IMAGES).write_bytes(idx(arrays["train_images"]))
        with tarfile.open(new / name, "w:gz" if name.endswith("gz") else "w") as tar:
            for path in folder.iterdir():
                unpacked = gzip.decompress((folder / f"{path.stem}.gz").read_bytes())
                member = tarfile.TarInfo(f"a/{path.stem}")
                member.size = len(unpacked)
                tar.addfile(member, io.BytesIO(unpacked))
    assert_equal(load_mnist(new), arrays)
    right = (new / name).read_bytes()
    (new / name).write_bytes(right[: len(right) // 2])
    with pytest.raises(DataError, match=f"{name} is not the published file"):
        load_mnist(new)


def kaggle(contents, name):
    """A folder for each file, in which it has the other spelling."""
    return {f"{name.replace('-idx', '.idx')}/{name}": contents}


@pytest.mark.parametrize("form", [kaggle, dotted])
@pytest.mark.parametrize("place", [".", "archive", "archive.zip", "digits.tar.gz"])
def test_files_as_kaggle_has_them(twin, tmp_path, form, place):
    arrays, folder = twin
    new, other = tmp_path / "new", tmp_path / "other"
    for path in folder.iterdir():
        contents = gzip.decompress(path.read_bytes())
        for name, data in form(contents, path.stem).items():
            (other / name).parent.mkdir(parents=True, exist_ok=True)
            (other / name).write_bytes(data)
    new.mkdir()
    if "." in place[1:]:
        stem, kind = place.split(".", 1)
        shutil.make_archive(new / stem, kind.replace("tar.gz", "gztar"), other)
    else:
        shutil.copytree(other, new / place, dirs_exist_ok=True)
    # Another data set of the same names is none of it.
    (new / "aaa").mkdir()
    (new / "aaa" / TRAIN_IMAGES).write_bytes(b"fashion")
    assert_equal(load_mnist(new), arrays)


def test_another_data_set_with_the_same_names_is_none_of_it(twin, tmp_path):
    _, folder = twin
    shutil.copytree(folder, tmp_path / "new" / "fashion")
    wrong = gzip.compress(b"fashion")
    (tmp_path / "new" / "fashion" / f"{TRAIN_IMAGES}.gz").write_bytes(wrong)
    (tmp_path / "new" / "other.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match="files of mnist are missing"):
        load_mnist(tmp_path / "new")


def test_a_file_is_no_data_directory(twin, tmp_path, monkeypatch):
    _, folder = twin
    file = folder / f"{TRAIN_IMAGES}.gz"
    with pytest.raises(DataError, match=f"--data-dir must be a directory, .*{file}"):
        load_mnist(file)
    monkeypatch.setenv("GROKFAST_DATA", str(file))
    with pytest.raises(DataError, match="GROKFAST_DATA must be a directory"):
        load_mnist()


def test_an_archive_without_the_file_is_none_of_it(twin, tmp_path):
    with zipfile.ZipFile(tmp_path / "mnist.zip", "w") as archive:
        archive.writestr("readme", "")
    with pytest.raises(DataError, match="files of mnist are missing"):
        load_mnist(tmp_path)


def test_a_damaged_file_does_not_hide_a_sound_one(twin):
    arrays, folder = twin
    (folder / TRAIN_IMAGES).write_bytes(b"junk")
    with pytest.warns(UserWarning, match=f"not used: {folder / TRAIN_IMAGES} is not"):
        assert_equal(load_mnist(folder), arrays)


def test_missing_files_say_what_is_wanted(twin, tmp_path):
    _, folder = twin
    (folder / f"{TRAIN_IMAGES}.gz").unlink()
    file, _ = mnist._ARRAYS["train_images"]
    with pytest.raises(DataError) as caught:
        load_mnist(folder)
    message = str(caught.value)
    for part in (
        f"looked in {folder / 'mnist'} and {folder} (--data-dir)",
        "MNIST/raw",
        f"{TRAIN_IMAGES} or train-images.idx3-ubyte (9,424 bytes, sha256 {file.sha256}",
        f"curl -fL --create-dirs -o {folder / 'mnist' / TRAIN_IMAGES}.gz https://",
        "pip install tensorflow-datasets",
        "GROKFAST_DATA",
    ):
        assert part in message
    assert "labels" not in message, "only what is missing is wanted"


IMAGES = np.zeros((12, 28, 28), np.uint8)
RIGHT = packed(idx(IMAGES))


@pytest.mark.parametrize(
    ("contents", "problem"),
    [
        (b"", "bytes, less than the header's 16"),
        (b"<html>", "6 bytes, less than the header's 16"),
        (b"<!DOCTYPE html><html>", "magic number is 0x3c21444f, not 0x00000803"),
        (RIGHT[:-30], "ends too early"),
        (RIGHT[:12] + b"\xff\xff" + RIGHT[14:], "cannot be unpacked"),
        (b"PK\3\4" + RIGHT, "cannot be unpacked"),
        (packed(b"\0\0\x08\x03"), "4 bytes, less than the header's 16"),
        (packed(idx(IMAGES[:, 0])), "magic number is 0x00000802, not 0x00000803"),
        (packed(idx(IMAGES[:11])), r"shape \(11, 28, 28\), not \(12, 28, 28\)"),
        (packed(idx(IMAGES) + b"\0"), "holds 9,409 elements, not 9,408"),
        (RIGHT, "contents differ"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damaged_files(twin, contents, problem):
    _, folder = twin
    path = folder / f"{TRAIN_IMAGES}.gz"
    path.write_bytes(contents)
    with pytest.raises(DataError, match=problem) as caught:
        load_mnist(folder)
    message = str(caught.value)
    file, _ = mnist._ARRAYS["train_images"]
    assert message.startswith(f"{path} is not the published file")
    assert f"({len(contents):,} bytes" in message
    if contents == RIGHT:
        found = hashlib.sha256(idx(IMAGES)).hexdigest()
        assert f"; its contents 9,424 bytes, sha256 {found})" in message
    assert f"({file.size:,} bytes, sha256 {file.sha256})" in message
    assert f"-o {path} {file.url}" in message
    assert message.count(f"rm {path}") == 1
    with pytest.raises(DataError, match=re.escape(message)):
        load_mnist(folder, download=True)  # a file that is there is left alone


def test_what_is_fetched_under_another_name_replaces_the_damaged_file(twin):
    _, folder = twin
    (folder / f"{TRAIN_IMAGES}.gz").unlink()
    path = folder / "train-images.idx3-ubyte"
    path.write_bytes(b"junk")
    with pytest.raises(DataError) as caught:
        load_mnist(folder)
    lines = str(caught.value).splitlines()
    assert lines[4] == f"  rm {path}"
    assert lines[5].startswith(
        f"  curl -fL --create-dirs -o {folder / TRAIN_IMAGES}.gz"
    )


def test_a_single_wrong_bit(twin):
    _, folder = twin
    labels = folder / "t10k-labels-idx1-ubyte.gz"
    data = bytearray(gzip.decompress(labels.read_bytes()))
    data[-1] ^= 1
    labels.write_bytes(gzip.compress(data))
    with pytest.raises(DataError, match="contents differ"):
        load_mnist(folder)


def test_download_from_a_server(served, tmp_path):
    pytest.importorskip("tensorflow_datasets")
    arrays, _ = served
    root = tmp_path / "new"
    with pytest.raises(DataError, match="files of mnist are missing"):
        load_mnist(root)
    assert not root.exists(), "nothing is fetched unasked"
    assert_equal(load_mnist(root, download=True), arrays)
    names = {file.name for file, _ in mnist._ARRAYS.values()}
    assert {path.name for path in (root / "mnist").iterdir()} - {".lock"} == names
    assert_equal(load_mnist(root), arrays)


@pytest.mark.parametrize(
    "contents", [None, b"<html>", RIGHT], ids=["none", "a-page", "other-pixels"]
)
def test_a_download_that_fails_leaves_nothing_to_read(served, tmp_path, contents):
    pytest.importorskip("tensorflow_datasets")
    arrays, pages = served
    right = pages.pop(f"{TRAIN_IMAGES}.gz")
    if contents is not None:
        pages[f"{TRAIN_IMAGES}.gz"] = contents
    file, _ = mnist._ARRAYS["train_images"]
    with pytest.raises(DataError, match=f"{file.url} could not be downloaded: "):
        load_mnist(tmp_path / "new", download=True)
    left = {path.name for path in (tmp_path / "new" / "mnist").iterdir()}
    assert TRAIN_IMAGES not in left
    assert not any(name.startswith(".download") for name in left)
    pages[f"{TRAIN_IMAGES}.gz"] = right
    assert_equal(load_mnist(tmp_path / "new", download=True), arrays)


def test_a_write_that_fails_leaves_nothing_to_read(served, tmp_path, monkeypatch):
    pytest.importorskip("tensorflow_datasets")
    arrays, _ = served

    def full_disk(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full_disk)
        with pytest.raises(OSError, match="No space"):
            load_mnist(tmp_path / "new", download=True)
    assert not list((tmp_path / "new" / "mnist").glob("*-ubyte"))
    assert_equal(load_mnist(tmp_path / "new", download=True), arrays)


@pytest.fixture
def manual(real_data, tmp_path):
    """The published files in the manual directory of TFDS.

    No network: TFDS knows the files by name and by its own checksums.
    """
    pytest.importorskip("tensorflow_datasets")
    folder = tmp_path / "downloads" / "manual"
    folder.mkdir(parents=True)
    for file, _ in mnist._ARRAYS.values():
        published = existing(real_data("mnist") / file.fetched_name)
        shutil.copyfile(published, folder / file.fetched_name)
    return folder


def test_real_files_in_the_manual_directory_of_tfds(manual, real_data, tmp_path):
    data = load_mnist(tmp_path, download=True)
    assert_equal(data, load_mnist(real_data("mnist")))
    assert (manual / f"{TRAIN_IMAGES}.gz").exists(), "the user's files stay"


def test_a_wrong_file_in_the_manual_directory_of_tfds(manual, tmp_path):
    taken = manual / f"{TRAIN_IMAGES}.gz"
    right = taken.read_bytes()
    taken.write_bytes(packed(idx(np.zeros((60_000, 28, 28), np.uint8))))
    with pytest.raises(DataError, match="wrong checksum") as caught:
        load_mnist(tmp_path, download=True)
    message = str(caught.value)
    assert "Try again later" not in message
    assert f"taken from {taken}, which is another file" in message
    assert f"rm {taken}" in message.splitlines()[-3]
    assert not list((tmp_path / "mnist").glob("*-ubyte"))
    taken.write_bytes(right)
    load_mnist(tmp_path, download=True)


def test_downloads_name_the_package(twin, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(DataError, match="pip install tensorflow-datasets"):
        load_mnist(tmp_path / "new", download=True)
    assert_equal(load_mnist(twin[1], download=True), twin[0])  # nothing to fetch


@pytest.mark.usefixtures("user_cache")
def test_the_command_line_prints_the_message_and_leaves_no_record(capsys, tmp_path):
    run, data = tmp_path / "run", tmp_path / "data"
    data.mkdir()
    arguments = ["train", "mnist", "--run-dir", str(run), "--data-dir", str(data)]
    assert cli.main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("error: files of mnist are missing; looked in")
    assert len(lines) == 12
    assert not run.exists()
