"""CIFAR's files in both forms, prepared arrays of it, and its fixed copies."""

import gzip
import hashlib
import io
import pickle
import tarfile

import numpy as np
import pytest

from experiments.data import cifar
from experiments.data.cifar import load_cifar
from experiments.data.cifar_raw import from_binary, from_pickle
from experiments.data.copies import crop_and_flip, fixed_copies
from experiments.data.source import DataError

pytestmark = pytest.mark.usefixtures("user_cache")
FOLDERS = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}


def made(dataset, count, seed):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 32, 32, 3), np.uint8)
    return images, rng.integers(0, cifar.CLASSES[dataset], count).astype(np.uint8)


def pickled(dataset, images, labels):
    """As Python 2 has written it."""
    rows = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    key = b"labels" if dataset == "cifar10" else b"fine_labels"
    coarse = {} if dataset == "cifar10" else {b"coarse_labels": [0] * len(images)}
    batch = {b"data": rows, key: labels.tolist(), b"filenames": [b"a.png"], **coarse}
    return pickle.dumps(batch, protocol=2)


def binary(dataset, images, labels):
    rows = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    columns = [labels[:, None], rows]
    if dataset == "cifar100":
        columns.insert(0, np.zeros_like(labels)[:, None])
    return np.concatenate(columns, axis=1).tobytes()


@pytest.fixture(params=["cifar10", "cifar100"])
def dataset(request):
    return request.param


@pytest.fixture
def twin(dataset, monkeypatch):
    """A thousand images in five or one files, and a thousand to test: all batches."""
    monkeypatch.setattr(cifar, "TRAIN", 1000)
    monkeypatch.setattr(cifar, "TEST", 1000)
    *train, test = cifar._MD5[dataset]
    counts = {name: 1000 // len(train) for name in train} | {test: 1000}
    batches = {n: made(dataset, c, i) for i, (n, c) in enumerate(counts.items())}
    md5 = {
        name: hashlib.md5(pickled(dataset, *batch)).hexdigest()
        for name, batch in batches.items()
    }
    monkeypatch.setitem(cifar._MD5, dataset, md5)
    return batches


def write_pickles(dataset, batches, folder):
    folder.mkdir(parents=True)
    for name, batch in batches.items():
        (folder / name).write_bytes(pickled(dataset, *batch))


def write_archive(dataset, batches, folder, form):
    folder.mkdir(parents=True)
    write, ending = {"python": (pickled, ""), "binary": (binary, ".bin")}[form]
    name = dataset.replace("cifar", "cifar-")
    with tarfile.open(folder / f"{name}-{form}.tar.gz", "w:gz") as archive:
        for batch in batches:
            contents = write(dataset, *batches[batch])
            member = tarfile.TarInfo(f"{FOLDERS[dataset]}/{batch}{ending}")
            member.size = len(contents)
            archive.addfile(member, io.BytesIO(contents))


def assert_read(found, batches):
    *train, (test_images, test_labels) = batches.values()
    images, labels = (np.concatenate(parts) for parts in zip(*train, strict=True))
    expected = (images, labels, test_images, test_labels)
    for name, array in zip(cifar.NAMES, expected, strict=True):
        assert found[name].dtype == np.uint8
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.parametrize("form", ["python", "binary", "files"])
def test_original_files_are_read_once(dataset, twin, tmp_path, form, user_cache):
    if form == "files":
        write_pickles(dataset, twin, tmp_path / "data" / FOLDERS[dataset])
    else:
        write_archive(dataset, twin, tmp_path / "data" / dataset, form)
    assert_read(load_cifar(dataset, 1000, 1000, tmp_path / "data"), twin)
    kept = user_cache / dataset / f"{dataset}_1k_1k.npz"
    assert kept.exists()
    assert_read(load_cifar(dataset, 1000, 1000, tmp_path / "elsewhere"), twin)
    first = load_cifar(dataset, 7, 3, tmp_path / "elsewhere")
    assert {name: len(a) for name, a in first.items()} == dict(
        zip(cifar.NAMES, (7, 7, 3, 3), strict=True)
    )
    np.testing.assert_array_equal(first["test_images"], list(twin.values())[-1][0][:3])


def test_missing_files_are_told(dataset, tmp_path):
    with pytest.raises(DataError, match=f"files of {dataset} are missing") as caught:
        load_cifar(dataset, 10, 10, tmp_path)
    message = str(caught.value)
    for name, md5 in cifar._MD5[dataset].items():
        assert f"  {name} (md5 {md5})" in message
    archive = f"{dataset.replace('cifar', 'cifar-')}-python.tar.gz"
    assert message.count(f"curl -fL --create-dirs -o {tmp_path}/{dataset}/") == 1
    assert f"https://www.cs.toronto.edu/~kriz/{archive}" in message


def test_a_damaged_file_is_told(twin, dataset, tmp_path):
    folder = tmp_path / dataset
    write_pickles(dataset, twin, folder)
    path = folder / next(iter(twin))
    path.write_bytes(path.read_bytes()[:-1000] + bytes(1000))
    with pytest.raises(DataError, match=f"{path} is not the published file") as caught:
        load_cifar(dataset, 10, 10, tmp_path)
    assert f"wanted {path.name} (md5 {cifar._MD5[dataset][path.name]})" in str(
        caught.value
    )


def test_a_label_that_there_is_not_in_the_binary_form(twin, dataset, tmp_path):
    _, labels = next(iter(twin.values()))
    labels[3] = 200
    write_archive(dataset, twin, tmp_path / dataset, "binary")
    with pytest.raises(DataError, match="its labels are not all 0 … ") as caught:
        load_cifar(dataset, 10, 10, tmp_path)
    assert "bytes), packed or not" in str(caught.value)


class Trap:
    def __reduce__(self):
        return print, ("a trap",)


@pytest.mark.parametrize(
    ("batch", "problem"),
    [
        (Trap(), "it asks for __builtin__.print"),
        ({b"data": np.zeros((2, 3072), np.uint8)}, "it has no data and labels"),
        ([1], "it has no data and labels"),
        ({b"data": np.zeros((2, 3071), np.uint8), b"labels": [1, 2]}, "not rows of"),
        ({b"data": np.zeros((2, 3072)), b"labels": [1, 2]}, "not rows of"),
        ({b"data": 5, b"labels": [1, 2]}, "not rows of"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]}, "its labels are"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1, 10]}, "0 … 9"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1, 256]}, "0 … 9"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1, -1]}, "0 … 9"),
    ],
)
def test_pickles_of_anything_else(batch, problem, capsys):
    with pytest.raises(ValueError, match=problem):
        from_pickle(pickle.dumps(batch, protocol=2), 10)
    assert capsys.readouterr().out == ""


def test_what_is_no_pickle_and_no_rows():
    with pytest.raises(ValueError, match="no pickle of arrays alone"):
        from_pickle(b"junk", 10)
    with pytest.raises(ValueError, match="no rows of 3073"):
        from_binary(bytes(3072), 10)


def test_the_real_images(real_data):
    folder = real_data("cifar10")
    data = load_cifar("cifar10", 10_000, 2_000, folder.parent)
    assert data["train_labels"][:5].tolist() == [6, 9, 9, 4, 1]  # a frog, two lorries
    assert data["test_labels"][:5].tolist() == [3, 8, 8, 0, 6]  # a cat, two ships
    pixels = data["train_images"] / np.float32(255)
    mean = pixels.mean((0, 1, 2), dtype=np.float64)
    np.testing.assert_allclose(mean, [0.4935, 0.4834, 0.4472], atol=1e-4)
    ship = data["test_images"][1]  # on the sea, under the sky: bluer than red
    assert ship[..., 2].mean() > ship[..., 0].mean()
    match = r"holds 10,000 \+ 2,000: --train-points 10000 --validation-points 2000; for"
    with pytest.raises(DataError, match=match):
        load_cifar("cifar10", 10_001, 2_000, folder.parent)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("cifar", 1, 1), "dataset must be one of cifar10, cifar100, got 'cifar'"),
        (("cifar10", 0, 1), r"train must be 1 … 50000, got 0"),
        (("cifar10", 1, 10_001), r"test must be 1 … 10000, got 10001"),
    ],
)
def test_what_cannot_be_asked_for(values, message):
    with pytest.raises(ValueError, match=message):
        load_cifar(*values)


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("train_labels", lambda a: a + 10, "its labels are not all"),
        ("test_images", lambda a: a[:, :31], r"images are uint8 \(1000, 31, 32, 3\)"),
        ("test_images", lambda a: a * 1.0, "images are float64"),
        ("train_images", lambda a: a[:999], r"\(999, 32, 32, 3\), not uint8"),
    ],
)
def test_prepared_arrays_that_do_not_fit(tmp_path, name, change, problem):
    arrays = dict(zip(cifar.NAMES, made("cifar10", 1000, 0) * 2, strict=True))
    path = tmp_path / "cifar10_1k_1k.npz"
    np.savez(path, **arrays | {name: change(arrays[name])})
    with pytest.raises(DataError, match=problem) as caught:
        load_cifar("cifar10", 1, 1, tmp_path)
    assert str(caught.value).startswith(f"{path} is damaged, or not 1,000 + 1,000")
    path.write_bytes(gzip.compress(b""))
    with pytest.raises(DataError, match="is damaged"):
        load_cifar("cifar10", 1, 1, tmp_path)


def test_crops_and_flips():
    image = np.arange(1, 17, dtype=np.uint8).reshape(4, 4)
    images = np.stack([np.kron(image, np.ones((2, 2), np.uint8))] * 3)[..., None]
    images = np.repeat(images, 3, axis=-1)
    rows, columns = np.array([1, 0, 2]), np.array([1, 2, 0])
    found = crop_and_flip(images, rows, columns, np.array([False, True, False]))
    np.testing.assert_array_equal(found[0], images[0])
    np.testing.assert_array_equal(found[1, 0], 0)
    np.testing.assert_array_equal(found[1, 1:, 1:], images[1, :-1, :0:-1])
    np.testing.assert_array_equal(found[1, :, 0], 0)
    np.testing.assert_array_equal(found[2, :-1, 1:], images[2, 1:, :-1])


def test_fixed_copies_are_always_the_same():
    """By checksum: a run that goes on elsewhere has the same images."""
    mixed = np.arange(50 * 3073, dtype=np.uint64) * 2654435761 >> 13 & 255
    images = mixed[50:].astype(np.uint8).reshape(50, 32, 32, 3)
    labels = mixed[:50].astype(np.uint8) % 10
    found, of_found = fixed_copies(images, labels, 3)
    digest = hashlib.sha256(found.tobytes() + of_found.tobytes()).hexdigest()
    assert digest == "fc03897bce7e8c897d56b02b33ffaedfdb7fda8d0a29e1ac0dadd4f5b11287d4"
    assert found.shape == (150, 32, 32, 3)
    np.testing.assert_array_equal(np.bincount(of_found), 3 * np.bincount(labels))
    # Each is a window of an image with its label, and they are well mixed.
    match = [
        {n for n in range(50) if is_window(copy, images[n])} for copy in found[:40]
    ]
    assert all(len(each) == 1 for each in match)
    assert [labels[each.pop()] for each in match] == of_found[:40].tolist()
    assert len(np.unique(found.reshape(150, -1), axis=0)) == 150


def is_window(copy, image):
    padded = np.pad(image, ((4, 4), (4, 4), (0, 0)))
    middle = {copy[8:24, 8:24].tobytes(), copy[8:24, 23:7:-1].tobytes()}
    return any(
        padded[8 + i : 24 + i, 8 + j : 24 + j].tobytes() in middle
        for i in range(9)
        for j in range(9)
    )
