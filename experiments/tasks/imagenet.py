"""ImageNet, or any images in class folders, at a small size.

The networks are those of CIFAR, whose first layer does not shrink the image, and all
images are in the device's memory at once: this is ImageNet at 32 × 32 or 64 × 64 pixels
(arXiv 1707.08819 trains on such), with 3.9 GB or 15.7 GB of them. The defaults are
usual settings of residual networks (arXiv 1512.03385: batches of 256, a learning rate
of .1, momentum .9, decay 1e-4), with the schedule of CIFAR here.
"""

from typing import Any, ClassVar

import numpy as np

from experiments.data.image_folder import load_image_folder
from experiments.settings.files import Files
from experiments.settings.options import option, options
from experiments.tasks.images import ImagesTask

EPOCH = -(-1_281_167 // 256)
"""Steps of an epoch of ImageNet with the defaults."""


@options
class ImagenetTask(ImagesTask):
    """Photographs in class folders, given by the user, learnt by a ResNet."""

    name: ClassVar[str] = "imagenet"
    defaults: ClassVar[dict[str, Any]] = {
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 1e-4,
        "warmup_steps": 5 * EPOCH,
        "schedule": "cosine",
        "schedule_steps": 85 * EPOCH,
        "steps": 90 * EPOCH,
        "batch_size": 256,
        "eval_every": EPOCH,
    }

    classes: int = option(
        1000, "Classes: the first so many by the names of their folders.", minimum=2
    )
    size: int = option(64, "Pixels of a side: a multiple of 8.", minimum=8)

    def __post_init__(self) -> None:
        """Check what its range cannot tell of the size."""
        super().__post_init__()
        if self.size % 8:
            raise ValueError(f"size must be a multiple of 8, got {self.size}.")

    @property
    def pixels(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Means and standard deviations of ImageNet by channel, as they are in use."""
        return (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

    def load(self, files: Files = Files()) -> dict[str, np.ndarray]:
        """See :meth:`ImagesTask.joined`."""
        images, labels, count = load_image_folder(
            self.name, self.classes, self.size, files.data_dir
        )
        if self.augment == "copies":
            return self.joined(
                (images[:count], labels[:count]), (images[count:], labels[count:])
            )
        return self.arranged(images, labels, count)
