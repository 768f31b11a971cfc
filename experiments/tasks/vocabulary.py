"""Token numbers of texts, by the words that are frequent in the texts to train on."""

import jax
import jax.numpy as jnp

from experiments.settings.task import Rows


def numbers_of_words(
    words: jax.Array, rows: Rows, *, distinct: int, size: int
) -> jax.Array:
    """The number that each word gets: 1 for the most frequent, 0 for those left out.

    Args:
      words: of all texts, ``[texts, longest]``; 0 is no word.
      rows: of the texts to count in; of words that are as frequent, the one that is met
        first in this order is first.
      distinct: how many words there are, W: they are 1 … W.
      size: how many get a number.

    Returns:
      ``[1 + W]``, by word.
    """
    met = words[rows].ravel()
    counts = jnp.zeros(1 + distinct, jnp.int32).at[met].add(1).at[0].set(0)
    first = jnp.full(1 + distinct, len(met)).at[met].min(jnp.arange(len(met)))
    best = jnp.lexsort((first, -counts))[:size]
    ranks = jnp.where(
        counts[best] > 0, jnp.arange(1, 1 + len(best), dtype=jnp.int32), 0
    )
    return jnp.zeros(1 + distinct, jnp.int32).at[best].set(ranks)


def padded_in_front(numbers: jax.Array, length: int) -> jax.Array:
    """The first ``length`` numbers of every row that are not 0, zeros before them.

    Args:
      numbers: ``[texts, longest]``.
      length: of the result's rows, ``[texts, length]``.
    """
    kept = numbers > 0
    place = jnp.cumsum(kept, axis=1) - 1
    count = jnp.minimum(kept.sum(axis=1, keepdims=True), length)
    # What is left out goes into one column more.
    column = jnp.where(kept & (place < length), length - count + place, length)
    row = jnp.arange(len(numbers))[:, None]
    empty = jnp.zeros((len(numbers), length + 1), numbers.dtype)
    return empty.at[row, column].set(numbers)[:, :length]
