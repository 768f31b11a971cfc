"""Equations a ∘ b = c, learnt by a small transformer: the task of Power et al.

An equation is the four tokens x, operation, y, equals; the answer is predicted at the
last position. With n symbols, equals is token n and the operation token n + 1.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from experiments.data.algorithmic import (
    OPERATIONS,
    PERMUTATIONS,
    is_prime,
    number_of_symbols,
    operation_table,
    table_size,
)
from experiments.models.power_transformer import PowerTransformer
from experiments.models.transformer import Transformer
from experiments.settings.files import Files
from experiments.settings.options import option, options
from experiments.settings.task import Data, Examples, Key, Outputs, Params, Rows
from experiments.tasks.model_task import ModelTask

_ARCHITECTURES = {"grokfast": Transformer, "power": PowerTransformer}


def _has_modulus(task: "ModularTask") -> bool:
    return task.operation not in PERMUTATIONS


@options
class ModularTask(ModelTask):
    """x ∘ y for all x and y, part of the table for training, the rest to validate."""

    name: ClassVar[str] = "modular"

    operation: str = option(
        "mul",
        "Operation: mul is x·y with y ≠ 0, the published task.",
        choices=OPERATIONS,
    )
    prime: int = option(
        97,
        "Modulus p, a prime.",
        minimum=3,
        maximum=9973,
        needs=(_has_modulus, "with --operation s5"),
    )
    train_fraction: float = option(
        0.5, "Part of the table used for training.", above=0.0, below=1.0
    )
    architecture: str = option(
        "grokfast",
        "Transformer: grokfast (pre-norm, GELU) or power (post-norm, ReLU).",
        choices=tuple(_ARCHITECTURES),
    )
    width: int = option(128, "Features of the transformer.", minimum=2)
    layers: int = option(2, "Blocks of the transformer.", minimum=1)
    heads: int = option(4, "Attention heads; must divide the width.", minimum=1)

    def __post_init__(self) -> None:
        """Check what the ranges of single options cannot tell."""
        super().__post_init__()
        if not is_prime(self.prime):
            raise ValueError(f"prime must be a prime number, got {self.prime}.")
        if self.width % self.heads:
            raise ValueError(
                f"heads must divide width = {self.width}, got {self.heads}."
            )
        if not 0 < self.train_size < self.table_size:
            raise ValueError(
                "train_fraction must leave at least one of the "
                f"{self.table_size} equations on both sides, got {self.train_fraction}."
            )

    @property
    def table_size(self) -> int:
        """Number of equations."""
        return table_size(self.operation, self.prime)

    @property
    def train_size(self) -> int:
        """Number of equations to train on."""
        return round(self.table_size * self.train_fraction)

    @property
    def vocabulary(self) -> int:
        """Number of tokens: the symbols, equals and the operation."""
        return number_of_symbols(self.operation, self.prime) + 2

    def load(self, files: Files = Files()) -> dict[str, np.ndarray]:
        """``tokens [N, 4]`` and ``answers [N]``, int32."""
        del files
        x, y, answers = operation_table(self.operation, self.prime)
        equals, operation = self.vocabulary - 2, self.vocabulary - 1
        columns = [x, np.full_like(x, operation), y, np.full_like(x, equals)]
        return {"tokens": np.stack(columns, axis=1), "answers": answers}

    def splits(self, data: Data, key: Key) -> dict[str, Rows]:
        """A random part of the table; for one seed, nested across fractions."""
        del data
        order = jax.random.permutation(key, self.table_size)
        return {
            "train": order[: self.train_size],
            "validation": order[self.train_size :],
        }

    def predict(self, params: Params, examples: Examples) -> jax.Array:
        """Logits of the answers, ``[n, vocabulary]``."""
        tokens, symbols = examples["tokens"], self.vocabulary - 2
        prefixes = None
        saved = 24 * self.width**2 * (len(tokens) - symbols)  # columns of a block
        if saved > 4 * self.width * symbols * len(tokens):  # spreading keys and values
            x, operation = jnp.arange(symbols), jnp.full(symbols, self.vocabulary - 1)
            prefixes = jnp.stack([x, operation], axis=1)
        return self.apply(params, tokens, prefixes_PxK=prefixes)

    def losses(self, outputs: Outputs, examples: Examples) -> jax.Array:
        """Cross-entropy of each answer."""
        return optax.softmax_cross_entropy_with_integer_labels(
            outputs.prediction, examples["answers"]
        )

    def values(self, outputs: Outputs, examples: Examples) -> dict[str, jax.Array]:
        """Cross-entropy and accuracy (0 or 1) of each answer."""
        correct = jnp.argmax(outputs.prediction, axis=-1) == examples["answers"]
        return super().values(outputs, examples) | {"accuracy": correct}

    def model(self, rngs: nnx.Rngs) -> nnx.Module:
        """The transformer."""
        architecture = _ARCHITECTURES[self.architecture]
        return architecture(
            self.vocabulary, self.width, self.layers, self.heads, rngs=rngs
        )
