"""Examples of different lengths: few shapes to compile, little padding to compute."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

T = TypeVar("T")


def cut_lengths(longest: int, count: int) -> list[int]:
    """Lengths to cut batches to, each √2 times the one before, up to ``longest``.

    Multiples of 8, as vectors want them, but for the last; fewer where two are equal.

    Example:
      >>> cut_lengths(66, 6)
      [16, 24, 40, 48, 66]
    """
    found = {8 * -(-longest // (8 * 2 ** (k / 2))) for k in range(1, count)}
    return [*sorted(int(length) for length in found if length < longest), longest]


def on_length(
    function: Callable[[int], T], lengths: jax.Array, choices: Sequence[int]
) -> T:
    """Apply a function to the first of some lengths that all examples fit.

    Each choice is a branch of its own; the function's results have one shape.

    Args:
      function: of a length, which it knows when it is traced.
      lengths: of the examples, ``[n]``.
      choices: rising; the last one fits.
    """
    if len(choices) == 1:
        return function(choices[0])
    longer = jnp.array(choices[:-1]) < _longest(lengths)
    branches = [lambda length=length: function(length) for length in choices]
    return jax.lax.switch(jnp.sum(longer, dtype=jnp.int32), branches)


@jax.custom_batching.custom_vmap
def _longest(lengths: jax.Array) -> jax.Array:
    return jnp.max(lengths)


@_longest.def_vmap
def _longest_of_lanes(
    size: int, batched: Any, lengths: jax.Array
) -> tuple[jax.Array, bool]:
    """Of all lanes: a branch on a number of each lane would become all branches."""
    del size, batched
    return jnp.max(lengths), False


def grouped(order: jax.Array, lengths: jax.Array, group: int, key: jax.Array) -> Any:
    """An order in which examples of about the same length come in groups.

    The groups are in random order, and examples of one length in that of ``order``: of
    a random one the groups differ every time. What is left over by whole groups, the
    first of ``order``, comes last.

    Args:
      order: a permutation, ``[n]``.
      lengths: of the examples, ``[n]``.
      group: examples in one.
      key: a random key.
    """
    left, whole = jnp.split(order, [len(order) % group])
    by_length = whole[jnp.argsort(lengths[whole], stable=True)]
    groups = jax.random.permutation(key, by_length.reshape(-1, group))
    return jnp.concatenate([groups.reshape(-1), left])
