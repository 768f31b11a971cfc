"""Images in class folders: labels, the middle of each, what is kept, what is wrong."""

import os
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from experiments.data import image_folder
from experiments.data.image_folder import decoded, load_image_folder
from experiments.data.source import DataError
from tests.support.image_folder import COLOURS, write_folder

pytestmark = pytest.mark.usefixtures("user_cache")


@pytest.fixture
def folder(tmp_path):
    """A data directory with three classes of five images, and two to validate."""
    return write_folder(tmp_path / "data" / "imagenet")


def load(folder, classes=3, size=8):
    return load_image_folder("imagenet", classes, size, folder.parent)


@pytest.fixture
def calls(monkeypatch):
    """Paths of the images that were decoded."""
    seen = []

    def noted(path, size):
        seen.append(path)
        return decoded(path, size)

    monkeypatch.setattr(image_folder, "decoded", noted)
    return seen


def test_labels_are_those_of_the_folders(folder):
    images, labels, train = load(folder)
    assert (train, len(labels)) == (15, 21)
    assert images.shape == (21, 8, 8, 3)
    assert images.dtype == np.uint8
    colours = np.array(list(COLOURS.values()))[labels]
    assert np.abs(images - colours[:, None, None].astype(int)).max() < 12  # of JPEG
    assert np.bincount(labels[:15]).tolist() == [5, 5, 5]
    assert labels[15:].tolist() == [0, 0, 1, 1, 2, 2]
    assert (np.diff(labels[:15]) < 0).any()  # mixed, for evaluations read the first


def test_the_first_classes_alone(folder):
    two, three = load(folder, classes=2), load(folder)
    assert sorted(set(two.labels.tolist())) == [0, 1]
    assert (two.train, len(two.labels)) == (10, 14)
    assert set(three.labels.tolist()) == {0, 1, 2}


def test_the_middle_of_a_shrunk_image(tmp_path):
    """Of three stripes the middle one is left; its edges see a bit of the others."""
    stripes = np.repeat(np.array([[250, 0, 0], [0, 250, 0], [0, 0, 250]]), 40, axis=0)
    wide = np.repeat(stripes[None].astype(np.uint8), 40, axis=0)
    for name, pixels in {"wide": wide, "tall": wide.transpose(1, 0, 2)}.items():
        path = tmp_path / f"{name}.png"
        Image.fromarray(pixels).save(path)
        found = np.frombuffer(decoded(str(path), 8), np.uint8).reshape(8, 8, 3)
        green = np.broadcast_to([0, 250, 0], (8, 8, 3))
        np.testing.assert_allclose(found, green, atol=25)
        np.testing.assert_array_equal(found[2:6, 2:6], green[2:6, 2:6])


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK"])
def test_every_kind_of_image_becomes_red_green_and_blue(tmp_path, mode):
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.new("RGB", (20, 30), (90, 90, 90)).convert(mode).save(path)
    found = np.frombuffer(decoded(str(path), 8), np.uint8)
    assert found.size == 8 * 8 * 3
    assert np.abs(found.astype(int) - 90).max() < 12


def test_images_are_decoded_once_and_again_when_one_has_changed(
    folder, calls, user_cache
):
    first = load(folder)
    assert len(calls) == 21
    again = load(folder)
    assert len(calls) == 21
    np.testing.assert_array_equal(first.images, again.images)
    load(folder, size=16)
    assert len(calls) == 42
    path = folder / "train" / "ant" / "0.JPEG"
    Image.new("RGB", (30, 30), (250, 250, 250)).save(path, "JPEG")
    changed = load(folder)
    assert len(calls) == 63
    assert (changed.images[:15] > 240).all((1, 2, 3)).sum() == 1
    os.utime(path, ns=(1, 1))
    load(folder)
    assert len(calls) == 84
    path.write_bytes(path.read_bytes() + b" ")
    os.utime(path, ns=(1, 1))  # of another size at the same time
    load(folder)
    assert len(calls) == 105
    kept = [p.name for p in (user_cache / "imagenet").iterdir() if p.suffix != ".lock"]
    assert len([name for name in kept if not name.startswith(".")]) == 2  # of two sizes


def test_an_array_that_was_cut_off_or_is_another_is_made_again(
    folder, calls, user_cache
):
    load(folder)
    (kept,) = (user_cache / "imagenet").glob("*.npy")
    kept.write_bytes(kept.read_bytes()[:-1])
    load(folder)
    assert len(calls) == 42
    np.save(kept, np.zeros((21, 8, 8), np.uint8))
    assert load(folder).images.shape == (21, 8, 8, 3)
    assert len(calls) == 63


@pytest.mark.parametrize("contents", [b"", b"junk", None])
def test_a_damaged_image_is_named_and_nothing_is_kept(folder, user_cache, contents):
    path = folder / "val" / "bee" / "1.png"
    path.write_bytes(path.read_bytes()[:60] if contents is None else contents)
    with pytest.raises(DataError, match=f"{path} is damaged, or no image: "):
        load(folder)
    left = [p.name for p in (user_cache / "imagenet").iterdir()]
    assert not [name for name in left if "pixels" in name]


def without(*parts):
    return lambda folder: shutil.rmtree(folder.joinpath(*parts))


def emptied(*parts):
    def change(folder):
        for path in folder.joinpath(*parts).iterdir():
            path.unlink()

    return change


def flat(folder):
    shutil.rmtree(folder / "val")
    shutil.copytree(folder / "train" / "ant", folder / "val")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (without(), r"images of imagenet are missing; looked in .*They cannot be f"),
        (without("train"), r"images of imagenet are missing"),
        (without("val"), r"val is missing, or no directory"),
        (flat, r"val has no class folders: .*CLASS.NAME.jpeg is where"),
        (
            without("train", "cow"),
            r"3 classes wanted, .*train has folders of 2: --classes 2\.",
        ),
        (emptied("train", "bee"), r"train.bee has no images \(.jpeg, .jpg, .png\)"),
        (emptied("val", "bee"), r"val.bee has no images"),
        (
            lambda f: (f / "val" / "cow").rename(f / "val" / "yak"),
            r"val has classes that .*train lacks: yak\.",
        ),
    ],
)
def test_what_is_wrong_with_a_folder_is_told(folder, change, problem):
    change(folder)
    with pytest.raises(DataError, match=f"(?s){problem}"):
        load(folder)


def test_none_of_the_classes_is_validated(folder):
    shutil.rmtree(folder / "val" / "ant")
    shutil.rmtree(folder / "val" / "bee")
    with pytest.raises(DataError, match="val has none of the 2 classes ant, bee"):
        load(folder, classes=2)


def test_the_folder_itself_may_be_the_data_directory(folder):
    assert load_image_folder("imagenet", 3, 8, folder).train == 15


def test_pillow_is_asked_for(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(DataError, match="pip install pillow"):
        load(folder)


def test_how_many_are_decoded_is_told(folder, monkeypatch, capsys):
    monkeypatch.setattr(image_folder, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(image_folder, "_AT_ONCE", 12)
    images = load(folder).images
    told = capsys.readouterr()
    assert "12 of 21 images decoded\n21 of 21 images decoded\n" in told.err
    assert told.out == ""
    np.testing.assert_array_equal(images[0], load(folder).images[0])
