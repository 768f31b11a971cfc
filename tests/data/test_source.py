import dataclasses
import gzip
import hashlib
import os
import re
import shutil
import struct
import sys

import numpy as np
import pytest

from experiments.commands import cli
from experiments.data import mnist
from experiments.data.mnist import load_mnist
from experiments.data.source import DataError, DataFile, check

pytestmark = pytest.mark.usefixtures("user_cache")

TRAIN_IMAGES = "train-images-idx3-ubyte.gz"


def idx(array: np.ndarray) -> bytes:
    """A gzipped IDX file, without the time of writing."""
    header = struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape)
    return gzip.compress(header + array.tobytes(), mtime=0)


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
        (folder / file.name).write_bytes(contents)
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
        pages[file.name] = (folder / file.name).read_bytes()
        described[name] = dataclasses.replace(file, url=address + file.name), shape
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


def test_missing_files_say_what_is_wanted(real_data, tmp_path):
    shutil.copytree(real_data("mnist"), tmp_path, dirs_exist_ok=True)
    missing = tmp_path / TRAIN_IMAGES
    missing.unlink()
    with pytest.raises(DataError) as caught:
        load_mnist(tmp_path)
    message = str(caught.value)
    for part in (
        f"looked in {tmp_path / 'mnist'} and {tmp_path} (--data-dir)",
        "train-images-idx3-ubyte.gz (9,912,422 bytes, sha256 440fcabf73cc546fa21475e8",
        f"curl -fL --create-dirs -o {tmp_path / 'mnist' / TRAIN_IMAGES} https://",
        "grokfast-jax[tfds]",
        "GROKFAST_DATA",
    ):
        assert part in message
    assert "labels" not in message, "only what is missing is wanted"


IMAGES = np.zeros((12, 28, 28), np.uint8)


@pytest.mark.parametrize(
    ("contents", "problem"),
    [
        (b"", "bytes, less than the header's 16"),
        (b"<html>", "no intact gzip file"),
        (idx(IMAGES)[:-30], "ends too early"),
        (idx(IMAGES)[:12] + b"\xff\xff" + idx(IMAGES)[14:], "no intact gzip file"),
        (gzip.compress(b"\0\0\x08\x03"), "4 bytes, less than the header's 16"),
        (idx(IMAGES[:, 0]), "magic number is 0x00000802, not 0x00000803"),
        (idx(IMAGES[:11]), r"shape \(11, 28, 28\), not \(12, 28, 28\)"),
        (
            gzip.compress(gzip.decompress(idx(IMAGES)) + b"\0"),
            "holds 9,409 elements, not 9,408",
        ),
        (idx(IMAGES), "contents differ"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damaged_files(twin, contents, problem):
    _, folder = twin
    (folder / TRAIN_IMAGES).write_bytes(contents)
    with pytest.raises(DataError, match=problem) as caught:
        load_mnist(folder)
    message = str(caught.value)
    file, _ = mnist._ARRAYS["train_images"]
    assert message.startswith(f"{folder / TRAIN_IMAGES} is not the published file")
    found = hashlib.sha256(contents).hexdigest()
    assert f"({len(contents):,} bytes, sha256 {found})" in message
    assert f"({file.size:,} bytes, sha256 {file.sha256})" in message
    assert f"-o {folder / TRAIN_IMAGES} {file.url}" in message
    assert f"rm {folder / TRAIN_IMAGES}" in message
    with pytest.raises(DataError, match=re.escape(message)):
        load_mnist(folder, download=True)  # a file that is there is left alone


def test_a_single_wrong_bit_of_the_real_labels(real_data, tmp_path):
    shutil.copytree(real_data("mnist"), tmp_path, dirs_exist_ok=True)
    labels = tmp_path / "t10k-labels-idx1-ubyte.gz"
    data = bytearray(gzip.decompress(labels.read_bytes()))
    data[-1] ^= 1
    labels.chmod(0o644)
    labels.write_bytes(gzip.compress(data))
    with pytest.raises(DataError, match="contents differ"):
        load_mnist(tmp_path)


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
    "contents", [None, b"<html>", idx(IMAGES)], ids=["none", "a-page", "other-pixels"]
)
def test_a_download_that_fails_leaves_nothing_to_read(served, tmp_path, contents):
    pytest.importorskip("tensorflow_datasets")
    arrays, pages = served
    right = pages.pop(TRAIN_IMAGES)
    if contents is not None:
        pages[TRAIN_IMAGES] = contents
    file, _ = mnist._ARRAYS["train_images"]
    with pytest.raises(DataError, match=f"{file.url} could not be downloaded: "):
        load_mnist(tmp_path / "new", download=True)
    left = {path.name for path in (tmp_path / "new" / "mnist").iterdir()}
    assert TRAIN_IMAGES not in left
    assert not any(name.startswith(".download") for name in left)
    pages[TRAIN_IMAGES] = right
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
    assert not list((tmp_path / "new" / "mnist").glob("*.gz"))
    assert_equal(load_mnist(tmp_path / "new", download=True), arrays)


def test_real_files_in_the_manual_directory_of_tfds(real_data, tmp_path):
    """No network: TFDS knows the files by name and by its own checksums."""
    pytest.importorskip("tensorflow_datasets")
    manual = tmp_path / "downloads" / "manual"
    shutil.copytree(real_data("mnist"), manual)
    data = load_mnist(tmp_path, download=True)
    assert_equal(data, load_mnist(real_data("mnist")))
    assert (manual / TRAIN_IMAGES).exists(), "the user's files stay"


def test_a_wrong_file_in_the_manual_directory_of_tfds(real_data, tmp_path):
    pytest.importorskip("tensorflow_datasets")
    manual = tmp_path / "downloads" / "manual"
    shutil.copytree(real_data("mnist"), manual)
    (manual / TRAIN_IMAGES).chmod(0o644)
    (manual / TRAIN_IMAGES).write_bytes(idx(np.zeros((60_000, 28, 28), np.uint8)))
    with pytest.raises(DataError, match="wrong checksum") as caught:
        load_mnist(tmp_path, download=True)
    message = str(caught.value)
    assert "Try again later" not in message
    assert f"taken from {manual / TRAIN_IMAGES}, which is another file" in message
    command = f"rm {manual / TRAIN_IMAGES}"
    assert command in message.splitlines()[-3]
    assert not list((tmp_path / "mnist").glob("*.gz"))
    (manual / TRAIN_IMAGES).unlink()
    shutil.copy(real_data("mnist") / TRAIN_IMAGES, manual)
    assert_equal(load_mnist(tmp_path, download=True), load_mnist(real_data("mnist")))


def test_downloads_name_the_extra(twin, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(DataError, match=r"pip install 'grokfast-jax\[tfds\]'"):
        load_mnist(tmp_path / "new", download=True)
    assert_equal(load_mnist(twin[1], download=True), twin[0])  # nothing to fetch


def test_check_reads_the_whole_file(tmp_path):
    contents = bytes(range(256)) * 1000
    file = DataFile("a", hashlib.sha256(contents).hexdigest(), "https://example.org/a")
    (tmp_path / "a").write_bytes(contents)
    check(file, tmp_path / "a")
    (tmp_path / "a").write_bytes(contents[:-1] + b"\0")
    with pytest.raises(DataError, match="contents differ"):
        check(file, tmp_path / "a")


@pytest.mark.usefixtures("user_cache")
def test_the_command_line_prints_the_message_and_leaves_no_record(capsys, tmp_path):
    run, data = tmp_path / "run", tmp_path / "data"
    data.mkdir()
    arguments = ["train", "mnist", "--run-dir", str(run), "--data-dir", str(data)]
    assert cli.main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("error: files of mnist are missing; looked in")
    assert len(lines) == 11
    assert not run.exists()
