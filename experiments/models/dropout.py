"""Dropout whose masks depend on neither padding nor the lanes beside."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Dropout(NamedTuple):
    """Rates of a transformer's dropout, and the step's key.

    Attributes:
      hidden: of embeddings, of what is added to the residual stream, of the pooled
        output.
      attention: of attention weights.
      key: of the step.
    """

    hidden: float
    attention: float
    key: jax.Array


class Mask(NamedTuple):
    """Dropout of an array: x / (1 − rate) where it is kept, else 0.

    Attributes:
      kept: true with probability 1 − rate, of the array's shape.
      rate: what it was drawn with.
    """

    kept: jax.Array
    rate: float

    def __call__(self, x: jax.Array) -> jax.Array:
        """What is left of an array, scaled."""
        return jnp.where(self.kept, x / (1 - self.rate), 0)


def draw_mask(rate: float, key: jax.Array, numbers: jax.Array, size: int) -> jax.Array:
    """Masks of rows, ``[…, size]``, for row numbers ``[…]``.

    A row's mask is a function of the key and of its number alone, and begins alike
    however long the row is. All of a model's are best drawn at once: a generator is a
    loop to compile.

    Args:
      rate: rounded to a multiple of 2⁻¹⁶.
      key: a random key.
      numbers: of the rows, different ones.
      size: of a row.
    """
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(numbers.reshape(-1))
    words = jax.vmap(lambda key: jax.random.bits(key, (-(-size // 2),)))(keys)
    halves = jax.lax.bitcast_convert_type(words, jnp.uint16).reshape(len(keys), -1)
    kept = halves[:, :size] >= jnp.round(rate * 2**16).astype(jnp.uint16)
    return kept.reshape(*numbers.shape, size)
