"""Handwritten digits from few images: the MNIST task of Omnigrok and Grokfast.

Sources: arXiv 2210.01117 and 2405.20233 with their public code. The first images of the
training set in file order, pixels from 0 to 1, are learnt by an MLP from initial
parameters eight times as large as usual, by the mean squared error to one-hot labels;
validation is the whole test set.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.data.mnist import load_mnist
from experiments.models.mlp import MLP
from experiments.settings.files import Files
from experiments.settings.milestone import OF_ACCURACY, Milestone, generalised_95_of
from experiments.settings.options import option, options
from experiments.settings.task import Data, Examples, Key, Outputs, Params, Rows
from experiments.tasks.model_task import ModelTask

_PIXELS, _CLASSES = 28 * 28, 10


@options
class MnistTask(ModelTask):
    """Handwritten digits, learnt by an MLP from the first 1000 of 60,000 images."""

    name: ClassVar[str] = "mnist"
    reads_files: ClassVar[bool] = True
    published_accuracy: ClassVar[float | None] = 0.898
    milestones: ClassVar[tuple[Milestone, ...]] = (
        *OF_ACCURACY,
        generalised_95_of(0.898),
    )
    milestone: ClassVar[str] = "t_gen_95_of_published"
    defaults: ClassVar[dict[str, Any]] = {
        "optimizer": "adamw",
        "weight_decay": 0.01,
        "beta2": 0.999,
        "warmup_steps": 0,
        "init_scale": 8.0,
        "steps": 100_000,
        "batch_size": 200,
        "eval_every": 667,  # ⌈100,000 / 150⌉: where the published runs were evaluated
    }

    train_points: int = option(
        1000, "Images to train on: the first so many.", minimum=1, maximum=60_000
    )
    width: int = option(200, "Features of the hidden layers.", minimum=1)
    layers: int = option(3, "Linear layers.", minimum=1)

    def load(self, files: Files = Files()) -> dict[str, np.ndarray]:
        """``images [n, 784]``, uint8, and ``labels [n]``: those to train on first."""
        data = load_mnist(files.data_dir, download=files.download)
        images, labels = (
            np.concatenate(
                [data[f"train_{part}"][: self.train_points], data[f"test_{part}"]]
            )
            for part in ("images", "labels")
        )
        return {"images": images.reshape(-1, _PIXELS), "labels": labels}

    def splits(self, data: Data, key: Key) -> dict[str, Rows]:
        """The same for every seed."""
        del key
        rows = jnp.arange(len(data["labels"]))
        return {
            "train": rows[: self.train_points],
            "validation": rows[self.train_points :],
        }

    def predict(self, params: Params, examples: Examples) -> jax.Array:
        """The ten outputs of each image."""
        dtype = jax.tree.leaves(params)[0].dtype
        return self.apply(params, examples["images"].astype(dtype) / 255)

    def losses(self, outputs: Outputs, examples: Examples) -> jax.Array:
        """Mean squared error of each image over its ten outputs."""
        found = outputs.prediction
        targets = jax.nn.one_hot(examples["labels"], _CLASSES, dtype=found.dtype)
        return jnp.mean((found - targets) ** 2, axis=-1)

    def values(self, outputs: Outputs, examples: Examples) -> dict[str, jax.Array]:
        """Mean squared error and accuracy (0 or 1) of each image."""
        correct = jnp.argmax(outputs.prediction, axis=-1) == examples["labels"]
        return super().values(outputs, examples) | {"accuracy": correct}

    def model(self, rngs: nnx.Rngs) -> nnx.Module:
        """The MLP."""
        hidden = [self.width] * (self.layers - 1)
        return MLP([_PIXELS, *hidden, _CLASSES], rngs=rngs)
