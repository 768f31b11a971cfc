"""Scores of a whole split that are no means of its examples."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Binary(NamedTuple):
    """What was found of two classes, as parts of all examples.

    Attributes:
      is_one: examples of class 1.
      found: those that are found to be.
      both: those that are and are found to be.
    """

    is_one: jax.Array
    found: jax.Array
    both: jax.Array

    @classmethod
    def of(cls, is_one: jax.Array, found: jax.Array) -> "Binary":
        """From 0 or 1 of every example, ``[n]``, in the type of the scores."""
        return cls(jnp.mean(is_one), jnp.mean(found), jnp.mean(is_one * found))

    def f1(self) -> jax.Array:
        """F1 of class 1, 2 b / (p + q); 0 where nothing is of it or found to be."""
        return _ratio(2 * self.both, self.is_one + self.found)

    def matthews(self) -> jax.Array:
        """Matthews' correlation, (b − p q) / √(p (1 − p) q (1 − q)), 0 where 0 / 0."""
        p, q = self.is_one, self.found
        return _ratio(self.both - p * q, jnp.sqrt(p * (1 - p) * q * (1 - q)))


def _ratio(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.where(b > 0, a / jnp.where(b > 0, b, 1), 0)
