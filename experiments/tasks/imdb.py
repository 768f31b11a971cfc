"""Sentiments of film reviews: the IMDb task of Omnigrok and Grokfast.

Sources: arXiv 2210.01117 and 2405.20233 with their public code. A two-layer LSTM reads
the frequent words of the first 1000 reviews and tells positive from negative, from
initial parameters six times as large as usual; a quarter of the reviews is for
validation. The split is drawn with the seed, and the vocabulary is made of the reviews
to train on: both inside the trace, so that the lanes of a sweep share the words.

The published validation figures, .84 and .90, are the best of some 10,000 single random
batches of 50. Here the whole quarter is the score; the measure ``batch`` gives theirs.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from experiments.data.imdb import REVIEWS, load_imdb
from experiments.models.review_lstm import ReviewLstm
from experiments.settings.files import Files
from experiments.settings.milestone import (
    FIT_99,
    GENERALISED_95_OF_BEST,
    Milestone,
)
from experiments.settings.options import option, options
from experiments.settings.task import Data, Examples, Key, Outputs, Params, Rows
from experiments.tasks.model_task import ModelTask
from experiments.tasks.vocabulary import numbers_of_words, padded_in_front


@options
class ImdbTask(ModelTask):
    """Sentiments of film reviews, learnt by an LSTM from 750 of them."""

    name: ClassVar[str] = "imdb"
    reads_files: ClassVar[bool] = True
    milestones: ClassVar[tuple[Milestone, ...]] = (FIT_99, GENERALISED_95_OF_BEST)
    milestone: ClassVar[str] = "min_validation_loss"
    defaults: ClassVar[dict[str, Any]] = {
        "optimizer": "adamw",
        "learning_rate": 3e-4,
        "weight_decay": 1.0,
        "beta2": 0.999,
        "warmup_steps": 0,
        "clip_norm": 5.0,
        "init_scale": 6.0,
        "steps": 10_000,
        "batch_size": 50,
        "eval_every": 100,
    }

    reviews: int = option(
        1000,
        "Reviews: the first so many, three quarters of them to train on.",
        minimum=4,
        maximum=REVIEWS,
    )
    vocabulary: int = option(
        1000, "Words that are read: the most frequent ones.", minimum=1
    )
    length: int = option(
        500, "Words that are read of a review: the first so many.", minimum=1
    )
    embedding: int = option(64, "Features of a word.", minimum=1)
    width: int = option(256, "Features of a layer.", minimum=1)
    layers: int = option(2, "Layers of the LSTM.", minimum=1)
    products: str = option(
        "float32",
        "Of the LSTM's matrix products: bfloat16 rounds their factors to it.",
        choices=("float32", "bfloat16"),
    )

    def load(self, files: Files = Files()) -> dict[str, np.ndarray]:
        """``words [n, longest]``, ``occurrences [W]`` and ``labels [n]``.

        A word is its number, 1 … W, by its first occurrence; 0 is none. Labels are 1
        for positive.
        """
        found = load_imdb(self.reviews, files.data_dir, download=files.download)
        return encoded(found.words, found.positive)

    def splits(self, data: Data, key: Key) -> dict[str, Rows]:
        """Three quarters and one, in random order, as many positive in each, per cent.

        Of an odd number the validation has the odd one.
        """
        positive = data["labels"] == 1
        order = jax.random.permutation(key, self.reviews)
        train, share = self.reviews * 3 // 4, jnp.sum(positive)
        share = (2 * train * share + self.reviews) // (2 * self.reviews)  # rounded
        of_order = positive[order]
        rank = jnp.where(of_order, jnp.cumsum(of_order), jnp.cumsum(~of_order))
        trains = rank <= jnp.where(of_order, share, train - share)
        order = order[jnp.argsort(~trains, stable=True)]
        return {"train": order[:train], "validation": order[train:]}

    def with_split(self, data: Data, splits: dict[str, Rows]) -> Data:
        """``tokens [n, length]``, padded in front, and ``labels``."""
        numbers = numbers_of_words(
            data["words"],
            splits["train"],
            distinct=len(data["occurrences"]),
            size=self.vocabulary,
        )
        tokens = padded_in_front(numbers[data["words"]], self.length)
        return {"tokens": tokens, "labels": data["labels"]}

    def predict(self, params: Params, examples: Examples) -> jax.Array:
        """The logarithm of the odds that each review is positive."""
        return self.apply(params, examples["tokens"])

    def losses(self, outputs: Outputs, examples: Examples) -> jax.Array:
        """Binary cross-entropy of each review."""
        odds = outputs.prediction
        return binary_cross_entropy(odds, examples["labels"].astype(odds.dtype))

    def values(self, outputs: Outputs, examples: Examples) -> dict[str, jax.Array]:
        """Cross-entropy and accuracy (0 or 1) of each review."""
        correct = (outputs.prediction > 0) == (examples["labels"] == 1)
        return super().values(outputs, examples) | {"accuracy": correct}

    def model(self, rngs: nnx.Rngs) -> nnx.Module:
        """The LSTM."""
        return ReviewLstm(
            1 + self.vocabulary,
            self.embedding,
            self.width,
            self.layers,
            product_dtype=self.products,
            rngs=rngs,
        )


def encoded(texts: list[list[str]], labels: np.ndarray) -> dict[str, np.ndarray]:
    """Words as numbers by their first occurrence; see :meth:`ImdbTask.load`."""
    numbers: dict[str, int] = {}
    words = np.zeros((len(texts), max(1, *map(len, texts))), np.int32)
    for row, text in zip(words, texts, strict=True):
        row[: len(text)] = [numbers.setdefault(word, 1 + len(numbers)) for word in text]
    occurrences = np.bincount(words.ravel(), minlength=1 + len(numbers))[1:]
    return {
        "words": words,
        "occurrences": occurrences.astype(np.int32),
        "labels": labels,
    }


@jax.custom_jvp
def binary_cross_entropy(odds: jax.Array, labels: jax.Array) -> jax.Array:
    """−y ln p − (1 − y) ln(1 − p) with p = sigmoid(odds), as PyTorch's ``BCELoss``.

    Logarithms are −100 at least. They are of p as it is in floating point: beyond odds
    of some 17 it is 1, and the loss of a mistake is 100. The gradient is that of
    PyTorch too, where p(1 − p) is 1e-12 at least.
    """
    p = jax.nn.sigmoid(odds)
    certain = jnp.maximum(jnp.log(p), -100), jnp.maximum(jnp.log1p(-p), -100)
    return -labels * certain[0] - (1 - labels) * certain[1]


@binary_cross_entropy.defjvp
def _(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    odds, labels = primals
    p = jax.nn.sigmoid(odds)
    slope = p * (1 - p)
    by_odds = (p - labels) * slope / jnp.maximum(slope, 1e-12)
    return binary_cross_entropy(odds, labels), by_odds * tangents[0]
