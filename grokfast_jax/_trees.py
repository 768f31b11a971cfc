"""Maps over the floating-point leaves of gradient trees; all other leaves stay.

Integer leaves, ``None`` and ``optax.MaskedNode`` hold no signal to filter: they have
no filter state (``optax.MaskedNode()`` stands in the state) and pass through updates.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax

PyTree: TypeAlias = Any
"""A tree with leaves of any kind: gradients, state, labels, shardings, shapes."""


def map_inexact(
    f: Callable[..., jax.Array], tree: optax.Updates, *rest: optax.Updates
) -> optax.Updates:
    """``f(leaf, *rest_leaves)`` where all are floating-point or complex, else leaf."""

    def map_leaf(*leaves: object) -> object:
        if not all(map(_is_inexact, leaves)):
            return leaves[0]
        return f(*map(jnp.asarray, leaves))

    return jax.tree.map(map_leaf, tree, *rest, is_leaf=_is_empty)


def init_inexact(
    f: Callable[[jax.typing.ArrayLike], jax.Array], params: optax.Params
) -> optax.Params:
    """``f(leaf)`` for floating-point or complex leaves, ``MaskedNode()`` for others."""
    return jax.tree.map(
        lambda leaf: f(leaf) if _is_inexact(leaf) else optax.MaskedNode(), params
    )


def zero_accumulators(
    params: optax.Params, accumulator_dtype: jax.typing.DTypeLike | None
) -> optax.Params:
    """Zeros like the floating-point leaves, of the dtype in which to accumulate."""

    def zeros(p: jax.typing.ArrayLike) -> jax.Array:
        return jnp.zeros_like(p, dtype=accumulator_dtype_for(p, accumulator_dtype))

    return init_inexact(zeros, params)


def accumulator_dtype_for(
    leaf: jax.typing.ArrayLike, accumulator_dtype: jax.typing.DTypeLike | None = None
) -> jnp.dtype:
    """The dtype in which to accumulate ``leaf``: at least float32 unless given.

    Complex leaves keep a complex accumulator, of the precision asked for.
    """
    dtype = jnp.result_type(leaf)
    if accumulator_dtype is None:
        return at_least_float32(dtype)
    accumulator_dtype = jax.dtypes.canonicalize_dtype(accumulator_dtype)
    if jnp.issubdtype(dtype, jnp.complexfloating):
        return jnp.promote_types(accumulator_dtype, jnp.complex64)
    return accumulator_dtype


def at_least_float32(dtype: jnp.dtype) -> jnp.dtype:
    """``dtype``, or float32 for the 16-bit and narrower floating-point dtypes."""
    return jnp.dtype(jnp.float32) if jnp.finfo(dtype).bits < 32 else dtype


def _is_empty(leaf: object) -> bool:
    return leaf is None or isinstance(leaf, optax.MaskedNode)


def _is_inexact(leaf: object) -> bool:
    if _is_empty(leaf):
        return False
    dtype = leaf.dtype if hasattr(leaf, "dtype") else jnp.result_type(leaf)
    return bool(jnp.issubdtype(dtype, jnp.inexact))
