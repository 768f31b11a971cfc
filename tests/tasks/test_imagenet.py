"""Images in class folders behind the interface of tasks."""

import jax
import numpy as np
import pytest

from experiments.engine.train import initialize, run_chunk
from experiments.methods.named import settings_of
from experiments.models.resnet import ResNet, basic
from experiments.settings.files import Files
from experiments.settings.options import options
from experiments.tasks.imagenet import ImagenetTask
from tests.support.image_folder import write_folder


@options
class OneBlock(ImagenetTask):
    """A residual block instead of a network's."""

    def model(self, rngs):
        return ResNet(basic, (1,), self.width, self.classes, rngs=rngs)


@pytest.fixture
def files(tmp_path, user_cache):
    write_folder(tmp_path / "data" / "imagenet")
    return Files(data_dir=tmp_path / "data")


def test_a_run_learns_with_grokfast(files):
    task = OneBlock(classes=3, size=8, width=4)
    config = settings_of(
        task, batch_size=8, warmup_steps=0, filter="ema", learning_rate=0.02
    ).config
    data = jax.device_put(task.load(files))
    _, log = run_chunk(config.traced(), 30, data, initialize(config.traced(), data))
    assert log.loss[0] == pytest.approx(np.log(3), rel=0.5)
    assert np.mean(log.loss[-4:]) < 0.5 * np.mean(log.loss[:4])


def test_images_to_train_on_and_to_validate_with(files):
    data = ImagenetTask(classes=3, size=16).load(files)
    assert data["images"].shape == (21, 16, 16, 3)
    assert (len(data["train"]), len(data["validation"])) == (15, 6)
    assert data["labels"][data["validation"]].tolist() == [0, 0, 1, 1, 2, 2]
    copies = ImagenetTask(classes=3, size=16, augment="copies", copies=2).load(files)
    assert (len(copies["train"]), len(copies["validation"])) == (30, 6)
    np.testing.assert_array_equal(copies["images"][30:], data["images"][15:])


def test_the_size_is_a_multiple_of_eight():
    with pytest.raises(ValueError, match="size must be a multiple of 8, got 36"):
        ImagenetTask(size=36)
