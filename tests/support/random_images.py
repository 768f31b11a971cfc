"""Images of noise behind the interface of CIFAR, and two residual blocks for them."""

from typing import ClassVar

import numpy as np

from experiments.models.resnet import ResNet, basic
from experiments.settings.files import Files
from experiments.settings.options import option, options
from experiments.tasks.cifar import CifarTask


@options
class RandomImages(CifarTask):
    """Images of 8 × 8 pixels, in classes that one can learn: brighter and brighter."""

    name: ClassVar[str] = "random-images"
    size: int = option(8, "Pixels of a side.")
    short: bool = option(True, "Two blocks instead of the network's.")

    def load(self, files=Files()):
        rng = np.random.default_rng(0)
        count = self.train_points + self.validation_points
        labels = rng.integers(0, self.classes, count).astype(np.uint8)
        images = rng.integers(0, 128, (count, self.size, self.size, 3), np.uint8)
        images += (labels * 12)[:, None, None, None].astype(np.uint8)
        cut = self.train_points
        return self.joined((images[:cut], labels[:cut]), (images[cut:], labels[cut:]))

    def model(self, rngs):
        if not self.short:
            return super().model(rngs)
        block = self.batch_norm_block
        return ResNet(basic, (1, 1), self.width, self.classes, block=block, rngs=rngs)


SMALL = RandomImages(train_points=20, validation_points=10, width=2)
