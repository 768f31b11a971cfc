"""Handwritten digits from few images: the MNIST task of Omnigrok and Grokfast.

Sources: arXiv 2210.01117 and 2405.20233 with their public code. The first images of the
training set in file order, pixels from 0 to 1, are learnt by an MLP from initial
parameters eight times as large as usual, by the mean squared error to one-hot labels;
validation is the whole test set.
"""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from experiments.data.mnist import load_mnist
from experiments.models.mlp import MLP
from experiments.settings.config import option
from experiments.tasks.file_task import FileTask

_PIXELS, _CLASSES = 28 * 28, 10


@dataclasses.dataclass(frozen=True)
class MnistTask(FileTask):
    """Handwritten digits, learnt by an MLP from the first 1000 of 60,000 images."""

    name: ClassVar[str] = "mnist"
    published_accuracy: ClassVar[float | None] = 0.898
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

    def load(self) -> dict[str, Any]:
        """``images [n, 784]``, uint8, and ``labels [n]`` of both splits."""
        data = load_mnist(self.data_dir, download=self.download)

        def part(name: str, size: int) -> dict[str, Any]:
            return {
                "images": data[f"{name}_images"][:size].reshape(-1, _PIXELS),
                "labels": data[f"{name}_labels"][:size],
            }

        return {
            "train": part("train", self.train_points),
            "validation": part("test", len(data["test_images"])),
        }

    def split(self, data: Any, key: jax.Array) -> tuple[Any, Any]:
        """The same for every seed."""
        del key
        return data["train"], data["validation"]

    def loss(
        self,
        params: Any,
        model_state: Any,
        examples: Any,
        key: jax.Array,
    ) -> tuple[jax.Array, Any]:
        """Mean squared error over the images and their ten outputs."""
        del key
        return jnp.mean(self.metrics(params, (), examples)["loss"]), model_state

    def metrics(
        self, params: Any, model_state: Any, examples: Any
    ) -> dict[str, jax.Array]:
        """Mean squared error and accuracy (0 or 1) of each image."""
        del model_state
        dtype = jax.tree.leaves(params)[0].dtype
        outputs = self.apply(params, examples["images"].astype(dtype) / 255)
        targets = jax.nn.one_hot(examples["labels"], _CLASSES, dtype=dtype)
        return {
            "loss": jnp.mean((outputs - targets) ** 2, axis=-1),
            "accuracy": jnp.argmax(outputs, axis=-1) == examples["labels"],
        }

    def model(self, rngs: nnx.Rngs) -> nnx.Module:
        """The MLP."""
        hidden = [self.width] * (self.layers - 1)
        return MLP([_PIXELS, *hidden, _CLASSES], rngs=rngs)
