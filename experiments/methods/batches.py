"""Scores of single random batches, as published programs keep them."""

from typing import ClassVar

import jax
import jax.numpy as jnp

from experiments.settings.measure import Measure, Point
from experiments.settings.options import option, options


@options
class RandomBatches(Measure):
    """Random batches of the validation split, drawn anew at every evaluation.

    Published programs look at one batch after every step and keep the best of all. With
    ``count`` the steps between evaluations, as many batches are looked at here, though
    of fewer states.
    """

    size: int = option(32, "Examples of a batch, at most.", minimum=1)
    count: int = option(100, "Batches that are drawn at an evaluation.", minimum=1)

    def means(self, point: Point) -> dict[str, jax.Array]:
        """The mean of every value of the task over each batch, ``[count]``."""
        values = point.values["validation"]
        key = jax.random.fold_in(point.key, point.step)
        shape = self.count, len(values["loss"])
        order = jnp.argsort(jax.random.uniform(key, shape), axis=1)
        rows = order[:, : self.size]
        return {
            name: jnp.mean(v[rows], axis=1, dtype=values["loss"].dtype)
            for name, v in values.items()
        }


@options
class BatchQuotient(RandomBatches):
    """The loss of random batches of the validation split ÷ their number of examples.

    The loss is a mean already; it is divided once more in the notebook that the
    published program of QM9 descends from (arXiv 2210.01117).
    """

    name: ClassVar[str] = "batch_quotient"

    def __call__(self, point: Point) -> dict[str, jax.Array]:
        """That of one batch, and the lowest of all that are drawn."""
        examples = min(self.size, len(point.values["validation"]["loss"]))
        quotients = self.means(point)["loss"] / examples
        return {
            "batch_quotient": quotients[0],
            "lowest_batch_quotient": jnp.min(quotients),
        }


@options
class RandomBatch(RandomBatches):
    """Loss and accuracy of random batches of the validation split.

    The published figures of IMDb are the best of single batches of 50 (arXiv
    2405.20233).
    """

    name: ClassVar[str] = "batch"

    size: int = option(50, "Examples of a batch, at most.", minimum=1)

    def __call__(self, point: Point) -> dict[str, jax.Array]:
        """Those of one batch, and the best of all that are drawn."""
        means = self.means(point)
        found = {f"batch_{name}": each[0] for name, each in means.items()}
        found["lowest_batch_loss"] = jnp.min(means["loss"])
        if "accuracy" in means:
            found["highest_batch_accuracy"] = jnp.max(means["accuracy"])
        return found
