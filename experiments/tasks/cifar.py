"""CIFAR-10 and CIFAR-100: the task of arXiv 2109.14119 and of arXiv 2402.15555.

The defaults are the former's baseline of stochastic gradient descent, 95.70 % after
300 epochs: ResNet-18, batches of 128, Nesterov's momentum .9, decay 5e-4, a learning
rate that rises to .1 within five epochs and falls as a cosine (here with each step,
there with each epoch), crops and flips anew in each step.
"""

from typing import Any, ClassVar

import numpy as np

from experiments.data.cifar import CLASSES, TEST, TRAIN, load_cifar
from experiments.settings.files import Files
from experiments.settings.options import option, options
from experiments.tasks.images import ImagesTask

EPOCH = -(-TRAIN // 128)
"""Steps of an epoch with the defaults: 390 batches of 128 and one of 80."""

_PIXELS = {
    "cifar10": ((0.49147, 0.48226, 0.44677), (0.24703, 0.24349, 0.26159)),
    "cifar100": ((0.50707, 0.48655, 0.44092), (0.26733, 0.25644, 0.27615)),
}


@options
class CifarTask(ImagesTask):
    """Colour images of 32 × 32 pixels in 10 or 100 classes, learnt by a ResNet."""

    name: ClassVar[str] = "cifar"
    defaults: ClassVar[dict[str, Any]] = {
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 5e-4,
        "warmup_steps": 5 * EPOCH,
        "schedule": "cosine",
        "schedule_steps": 300 * EPOCH,
        "steps": 300 * EPOCH,
        "batch_size": 128,
        "eval_every": EPOCH,
    }

    dataset: str = option("cifar10", "Data set.", choices=tuple(CLASSES))
    train_points: int = option(
        TRAIN, "Images to train on: the first so many.", minimum=1, maximum=TRAIN
    )
    validation_points: int = option(
        TEST,
        "Images of the test set to validate with: the first so many.",
        minimum=1,
        maximum=TEST,
    )

    @property
    def classes(self) -> int:
        """Number of classes."""
        return CLASSES[self.dataset]

    @property
    def pixels(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Means and standard deviations of the training set by channel."""
        return _PIXELS[self.dataset]

    def load(self, files: Files = Files()) -> dict[str, np.ndarray]:
        """See :meth:`ImagesTask.joined`."""
        data = load_cifar(
            self.dataset,
            self.train_points,
            self.validation_points,
            files.data_dir,
            download=files.download,
        )
        return self.joined(
            (data["train_images"], data["train_labels"]),
            (data["test_images"], data["test_labels"]),
        )
