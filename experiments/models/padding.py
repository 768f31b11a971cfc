"""When which rows of a batch are read, so that padding in front is hardly read.

Padding is an ordinary token 0 that every text begins with, and from the same state. So
a recurrent network's state after k of it is the same for all texts: row 0 reads padding
alone, and the other rows, in the order in which their words begin, start as copies of
it. Time is cut into blocks of some steps, and into stages of a fixed number of rows
each; a stage begins with the block in which the first of its new rows begins. Numbers
and gradients are those of reading everything, to rounding.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

_LONGEST_BLOCK = 16
_FEWEST_ROWS = 6


class Schedule(NamedTuple):
    """What is read when.

    Attributes:
      order: of the texts, by their first words, ``[B]``.
      tokens: of every block, row 0 and the texts in that order, ``[N, K, 1 + B]``.
      rows: that are read in each stage: the first so many.
      blocks: the first block of each stage, and the end.
    """

    order: jax.Array
    tokens: jax.Array
    rows: tuple[int, ...]
    blocks: tuple[jax.Array, ...]

    def stages(self) -> list[tuple[int, jax.Array, jax.Array]]:
        """Rows, first block and end of every stage."""
        return list(zip(self.rows, self.blocks, self.blocks[1:], strict=False))


def schedule(tokens: jax.Array) -> Schedule:
    """The schedule of some texts, ``[B, T]``; leading zeros are padding."""
    batch, length = tokens.shape
    steps = _block_length(length)
    is_word = tokens != 0
    first = jax.lax.argmax(is_word, 1, jnp.int32)
    begins = jnp.where(is_word.any(axis=1), first, length)
    order = jnp.argsort(begins)
    padding = jnp.zeros((1, length), tokens.dtype)
    read = jnp.concatenate([padding, tokens[order]]).T
    rows = _rows_of_stages(batch)
    joins = [_least(begins[order[n - 1]] // steps) for n in rows[:-1]]
    blocks = jnp.int32(0), *joins, jnp.int32(length // steps)
    return Schedule(order, read.reshape(-1, steps, 1 + batch), rows, blocks)


def with_copies(state_RxH: jax.Array, rows: int) -> jax.Array:
    """The state with more rows: the new ones are copies of row 0."""
    shape = rows - len(state_RxH), state_RxH.shape[1]
    return jnp.concatenate([state_RxH, jnp.broadcast_to(state_RxH[:1], shape)])


def of_copies(gradient_RxH: jax.Array, rows: int) -> jax.Array:
    """The gradient by the first ``rows`` if the others were copies of row 0."""
    return gradient_RxH[:rows].at[0].add(gradient_RxH[rows:].sum(0))


def _block_length(length: int) -> int:
    """A divisor: rows join at blocks alone, but a block has work of its own."""
    candidates = range(1, _LONGEST_BLOCK + 1)
    return max(steps for steps in candidates if length % steps == 0)


def _rows_of_stages(batch: int) -> tuple[int, ...]:
    """Row 0 alone, then about twice as many texts in each stage as in the one before.

    Few rows take as long as fewer.
    """
    texts = [batch]
    while texts[0] >= 2 * _FEWEST_ROWS:
        texts.insert(0, -(-texts[0] // 2))
    return 1, *(1 + count for count in texts)


@jax.custom_batching.custom_vmap
def _least(number: jax.Array) -> jax.Array:
    """The number; of the lanes of a ``vmap`` the least, for all of them.

    A loop whose bounds differ between lanes would select between whole states. To read
    more padding does no harm.
    """
    return number


@_least.def_vmap
def _least_of_lanes(size: int, batched: Any, numbers: jax.Array) -> tuple[Any, bool]:
    del size, batched
    return _least(jnp.min(numbers, axis=0)), False
