"""What a filter does to the gradient, measured as it passes."""

from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax

from experiments.methods.norms import cosine, norm, ratio
from experiments.settings.measure import UNDEFINED
from experiments.settings.task import PyTree


class ObservedState(NamedTuple):
    """State of :func:`observe`: measures of the last observed update.

    They are ``UNDEFINED`` before the first one, and where they divide by zero.

    Attributes:
      inner: the observed transformation's own state.
      gradient_norm: ‖g‖ over all parameters, before the filter.
      filter_share: ‖ĝ − g‖ / ‖ĝ‖, the part of the filtered gradient that the filter
        added: 0 without filter.
      filter_cosine: cosine of the angle between g and ĝ: 1 without filter.
    """

    inner: optax.OptState
    gradient_norm: jax.Array
    filter_share: jax.Array
    filter_cosine: jax.Array


MEASURES = ("gradient_norm", "filter_share", "filter_cosine")

State = TypeVar("State")


def state_of(opt_state: PyTree, kind: type[State]) -> State:
    """The one state of that type in a chain's: names of fields may be others' too.

    Raises:
      ValueError: there is none, or there are several.
    """
    found = states_of(opt_state, kind)
    if len(found) != 1:
        raise ValueError(f"{len(found)} states of {kind.__name__}, one was expected.")
    return found[0]


def states_of(opt_state: PyTree, kind: type[State]) -> list[State]:
    """All states of that type."""
    leaves = jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, kind))
    return [leaf for leaf in leaves if isinstance(leaf, kind)]


def observe(
    tx: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    """``tx`` with measures of its input and output in the state.

    The extra argument ``observed`` (a traced bool, by default True) tells whether to
    measure this update: a branch that is not taken costs nothing.
    """
    tx = optax.with_extra_args_support(tx)

    def init_fn(params: optax.Params) -> ObservedState:
        # An array each: one buffer under three names could not be donated.
        nothing = (jnp.full([], UNDEFINED, jnp.float32) for _ in MEASURES)
        return ObservedState(tx.init(params), *nothing)

    def update_fn(
        updates: optax.Updates,
        state: ObservedState,
        params: optax.Params | None = None,
        *,
        observed: jax.typing.ArrayLike = True,
        **extra_args: object,
    ) -> tuple[optax.Updates, ObservedState]:
        filtered, inner = tx.update(updates, state.inner, params, **extra_args)

        def measure() -> tuple[jax.Array, ...]:
            share = ratio(norm(optax.tree.sub(filtered, updates)), norm(filtered))
            measured = norm(updates), share, cosine(updates, filtered)
            return tuple(value.astype(jnp.float32) for value in measured)

        last = (state.gradient_norm, state.filter_share, state.filter_cosine)
        measured = jax.lax.cond(observed, measure, lambda: last)
        return filtered, ObservedState(inner, *measured)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
