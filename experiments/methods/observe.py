"""What a filter does to the gradient, measured as it passes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class ObservedState(NamedTuple):
    """State of :func:`observe`: measures of the last observed update, NaN before it.

    Attributes:
      inner: the observed transformation's own state.
      gradient_norm: ‖g‖ over all parameters, before the filter.
      filter_share: ‖ĝ − g‖ / ‖ĝ‖, the part of the filtered gradient that the filter
        added: 0 without filter.
      filter_cosine: cosine of the angle between g and ĝ: 1 without filter.
    """

    inner: Any
    gradient_norm: jax.Array
    filter_share: jax.Array
    filter_cosine: jax.Array


MEASURES = ("gradient_norm", "filter_share", "filter_cosine")


def observe(
    tx: optax.GradientTransformation,
) -> optax.GradientTransformationExtraArgs:
    """``tx`` with measures of its input and output in the state.

    The extra argument ``observed`` (a traced bool, by default True) tells whether to
    measure this update: a branch that is not taken costs nothing.
    """
    tx = optax.with_extra_args_support(tx)

    def init_fn(params):
        # An array each: one buffer under three names could not be donated.
        nothing = (jnp.full([], jnp.nan, jnp.float32) for _ in MEASURES)
        return ObservedState(tx.init(params), *nothing)

    def update_fn(updates, state, params=None, *, observed=True, **extra_args):
        filtered, inner = tx.update(updates, state.inner, params, **extra_args)

        def measure():
            gradient_norm = optax.tree.norm(updates)
            filtered_norm = optax.tree.norm(filtered)
            share = optax.tree.norm(optax.tree.sub(filtered, updates)) / filtered_norm
            product = optax.tree.vdot(updates, filtered)
            cosine = product / (gradient_norm * filtered_norm)
            return tuple(
                value.astype(jnp.float32) for value in (gradient_norm, share, cosine)
            )

        last = (state.gradient_norm, state.filter_share, state.filter_cosine)
        measured = jax.lax.cond(observed, measure, lambda: last)
        return filtered, ObservedState(inner, *measured)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def measures(opt_state: Any) -> dict[str, jax.Array]:
    """The measures of the last update, by name."""
    return {name: optax.tree.get(opt_state, name) for name in MEASURES}


def weight_norms(params: Any) -> dict[str, jax.Array]:
    """‖θ‖ over all parameters as ``weight_norm``, and per layer.

    A layer is a top-level entry of the parameters, or an item of a list there:
    ``weight_norm_head``, ``weight_norm_blocks_0``.
    """
    layers: dict[str, list[jax.Array]] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        keys = [key.key for key in path]
        depth = 2 if len(keys) > 1 and isinstance(keys[1], int) else 1
        layers.setdefault("_".join(map(str, keys[:depth])), []).append(leaf)
    norms = {
        f"weight_norm_{name}": optax.tree.norm(tree) for name, tree in layers.items()
    }
    return {"weight_norm": optax.tree.norm(params), **norms}
