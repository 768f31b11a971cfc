"""Maps over the floating-point leaves of gradient trees; all other leaves stay.

Integer leaves, ``None`` and ``optax.MaskedNode`` hold no signal to filter: they have
no filter state (``optax.MaskedNode()`` stands in the state) and pass through updates.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax


def map_inexact(f: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """``f(leaf, *rest_leaves)`` where all are floating-point or complex, else leaf."""

    def map_leaf(*leaves: Any) -> Any:
        if not all(map(_is_inexact, leaves)):
            return leaves[0]
        return f(*map(jnp.asarray, leaves))

    return jax.tree.map(map_leaf, tree, *rest, is_leaf=_is_empty)


def init_inexact(f: Callable[[Any], Any], params: Any) -> Any:
    """``f(leaf)`` for floating-point or complex leaves, ``MaskedNode()`` for others."""
    return jax.tree.map(
        lambda leaf: f(leaf) if _is_inexact(leaf) else optax.MaskedNode(), params
    )


def accumulator_dtype_for(leaf: Any, accumulator_dtype: Any = None) -> Any:
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


def at_least_float32(dtype: Any) -> Any:
    """``dtype``, or float32 for the 16-bit and narrower floating-point dtypes."""
    return jnp.dtype(jnp.float32) if jnp.finfo(dtype).bits < 32 else dtype


def _is_empty(leaf: Any) -> bool:
    return leaf is None or isinstance(leaf, optax.MaskedNode)


def _is_inexact(leaf: Any) -> bool:
    if _is_empty(leaf):
        return False
    dtype = leaf.dtype if hasattr(leaf, "dtype") else jnp.result_type(leaf)
    return bool(jnp.issubdtype(dtype, jnp.inexact))
