"""SaLSa's rule of when to search: seldom while the step size stays the same."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

_FIRST = 10
"""Updates that all search."""
_LONGEST = 10
"""Updates from one search to the next, at most."""
_START = 1e-8
"""Of both averages: far below any step size, so that they agree only after a while."""


class CadenceState(NamedTuple):
    """When to search next; each field is a scalar.

    Attributes:
      fast: average of the accepted step sizes, decay rate .9.
      slow: the same, decay rate .99.
      steps: updates in all, up to the first that all search, int32.
      since: updates since the last search, int32.
    """

    fast: jax.Array
    slow: jax.Array
    steps: jax.Array
    since: jax.Array


def first_cadence(dtype: jnp.dtype) -> CadenceState:
    """Before the first update."""
    start, none = jnp.full([], _START, dtype), jnp.zeros([], jnp.int32)
    return CadenceState(start, start, none, none)


def is_due(cadence: CadenceState) -> jax.Array:
    r"""Whether to search at this update.

    .. math::
      r = \max(E_f / E_s, E_s / E_f), \qquad L = \min(10, 1 / (r - 1))

    At each of the first ten updates, then L updates after the last search.
    """
    ratio = cadence.fast / cadence.slow
    apart = jnp.maximum(ratio, 1 / ratio) - 1
    return (cadence.steps < _FIRST) | (
        cadence.since >= jnp.minimum(_LONGEST, 1 / apart)
    )


def after(
    cadence: CadenceState, step_size: jax.Array, searched: jax.Array, failed: jax.Array
) -> CadenceState:
    """The state after an update; one whose search failed is followed by a search."""
    found = searched & ~failed

    def averaged(average: jax.Array, decay: float) -> jax.Array:
        return jnp.where(found, decay * average + (1 - decay) * step_size, average)

    since = jnp.where(searched, 1, cadence.since + 1)
    return CadenceState(
        fast=averaged(cadence.fast, 0.9),
        slow=averaged(cadence.slow, 0.99),
        steps=jnp.minimum(cadence.steps + 1, _FIRST),
        since=jnp.where(failed, _LONGEST, since).astype(jnp.int32),
    )
