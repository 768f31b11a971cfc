"""Images in classes, learnt by residual or dense networks: what such tasks share.

Sources: arXiv 2109.14119 (networks, BatchNorm by blocks, fixed copies), arXiv
2402.15555 (the pre-activation network), with their public code.
"""

import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from experiments.data.copies import fixed_copies
from experiments.models.batch_norm import STEP
from experiments.models.densenet import DEPTHS_121, DenseNet
from experiments.models.resnet import PreActivationResNet, ResNet, basic, bottleneck
from experiments.settings.options import option, options
from experiments.settings.task import (
    Data,
    Examples,
    Key,
    ModelState,
    Outputs,
    Params,
    Rows,
)
from experiments.tasks.augmentation import crop_and_flip
from experiments.tasks.model_task import ModelTask

_NETWORKS = {
    "resnet18": functools.partial(ResNet, basic, (2, 2, 2, 2)),
    "resnet50": functools.partial(ResNet, bottleneck, (3, 4, 6, 3)),
    "resnet152": functools.partial(ResNet, bottleneck, (3, 8, 36, 3)),
    "densenet121": functools.partial(DenseNet, DEPTHS_121),
    "preact18": PreActivationResNet,
}


def _has_norm(task: "ImagesTask") -> bool:
    return task.network != "preact18"


def _has_copies(task: "ImagesTask") -> bool:
    return task.augment == "copies"


@options
class ImagesTask(ModelTask):
    """Square images, their sides a multiple of 8; validation on the whole test set."""

    reads_files: ClassVar[bool] = True
    milestone: ClassVar[str] = "t_gen_95_of_best"
    evaluation_batch: ClassVar[int] = 500

    network: str = option(
        "resnet18",
        "Network; preact18 is the pre-activation ResNet-18 without BatchNorm.",
        choices=tuple(_NETWORKS),
    )
    width: int = option(64, "Channels of the network's stem.", minimum=2)
    batch_norm_block: int = option(
        0,
        "Images that BatchNorm takes its statistics of; 0: the whole batch.",
        minimum=0,
        needs=(_has_norm, "with --network preact18"),
    )
    batch_norm_statistics: str = option(
        "running",
        "Of BatchNorm in evaluations: running averages, or exact: the means over all "
        "blocks of the training set, as it is then, without crops and flips.",
        choices=("running", "exact"),
        needs=(_has_norm, "with --network preact18"),
    )
    augment: str = option(
        "step",
        "Crops and flips: anew in each step; none; or copies, drawn once for all.",
        choices=("step", "none", "copies"),
    )
    copies: int = option(
        10,
        "Augmented copies of each image.",
        minimum=1,
        maximum=1000,
        needs=(_has_copies, "without --augment copies"),
    )

    @property
    def classes(self) -> int:
        """Number of classes."""
        raise NotImplementedError

    @property
    def pixels(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Means and standard deviations by channel, pixels being 0 … 1."""
        raise NotImplementedError

    def joined(
        self,
        train: tuple[np.ndarray, np.ndarray],
        validation: tuple[np.ndarray, np.ndarray],
    ) -> dict[str, np.ndarray]:
        """``images [n, S, S, 3]``, uint8, and ``labels [n]``: those to train on first.

        Args:
          train: images and labels, of which copies are made if they are wanted.
          validation: images and labels.
        """
        if self.augment == "copies":
            train = fixed_copies(*train, self.copies)
        images, labels = (
            np.concatenate(both) for both in zip(train, validation, strict=True)
        )
        return self.arranged(images, labels, len(train[1]))

    def arranged(
        self, images: np.ndarray, labels: np.ndarray, count: int
    ) -> dict[str, np.ndarray]:
        """The data of images and labels of which the first ``count`` are to train on.

        Nothing is copied.
        """
        rows = np.arange(len(labels), dtype=np.int32)
        return {
            "images": images,
            "labels": labels,
            "train": rows[:count],
            "validation": rows[count:],
        }

    def splits(self, data: Data, key: Key) -> dict[str, Rows]:
        """The same for every seed."""
        del key
        return {name: data[name] for name in ("train", "validation")}

    def scored(self, splits: dict[str, Rows]) -> dict[str, Rows]:
        """Of the images to train on, no more than there are to validate."""
        most = len(splits["validation"])
        return {name: rows[:most] for name, rows in splits.items()}

    def take(self, data: Data, rows: Rows) -> Examples:
        """The images and labels of some rows."""
        return {name: data[name][rows] for name in ("images", "labels")}

    def forward(
        self,
        params: Params,
        model_state: ModelState,
        examples: Examples,
        key: Key | None,
        *,
        train: bool,
    ) -> tuple[Outputs, ModelState]:
        """Logits of each image, in training of a random part of it."""
        images = examples["images"]
        if train and self.augment == "step" and key is not None:
            images = crop_and_flip(key, images)
        (logits, seen), model_state = self.apply_with_state(
            params, model_state, self._normalised(images, params), train=train
        )
        return Outputs(logits, seen), model_state

    def evaluation_state(
        self,
        params: Params,
        model_state: ModelState,
        data: Data,
        splits: dict[str, Rows],
    ) -> ModelState:
        """Running averages of BatchNorm, or exact means over the blocks to train on.

        Means of the blocks' means and of their unbiased variances, as in training each
        layer's after those before it have normalised by the block. What a last, smaller
        block would add is left out.
        """
        if not _has_norm(self) or self.batch_norm_statistics == "running":
            return model_state
        rows = splits["train"]
        size = min(self.batch_norm_block or self.evaluation_batch, len(rows))
        whole = len(rows) // size * size
        nothing = jax.tree.map(jnp.zeros_like, model_state)

        def statistics(rows: Rows) -> ModelState:
            images = self._normalised(data["images"][rows], params)
            _, state = self.apply_with_state(params, nothing, images, train=True)
            return jax.tree.map(lambda a: a / STEP, state)

        each = jax.lax.map(statistics, rows[:whole].reshape(-1, size))
        return jax.tree.map(lambda a: jnp.mean(a, axis=0), each)

    def losses(self, outputs: Outputs, examples: Examples) -> jax.Array:
        """Cross-entropy of each image."""
        labels = examples["labels"].astype(jnp.int32)
        return optax.softmax_cross_entropy_with_integer_labels(
            outputs.prediction, labels
        )

    def values(self, outputs: Outputs, examples: Examples) -> dict[str, jax.Array]:
        """Cross-entropy and accuracy (0 or 1) of each image."""
        correct = jnp.argmax(outputs.prediction, axis=-1) == examples["labels"]
        return super().values(outputs, examples) | {"accuracy": correct}

    def model(self, rngs: nnx.Rngs) -> nnx.Module:
        """The network."""
        block = {"block": self.batch_norm_block} if _has_norm(self) else {}
        network: Any = _NETWORKS[self.network]
        return network(self.width, self.classes, **block, rngs=rngs)

    def _normalised(self, images: jax.Array, params: Params) -> jax.Array:
        """Pixels of mean 0 and variance 1 over the training set."""
        dtype = jax.tree.leaves(params)[0].dtype
        mean, std = (jnp.asarray(a, dtype)[None, None, None] for a in self.pixels)
        return (images.astype(dtype) / 255 - mean) / std
