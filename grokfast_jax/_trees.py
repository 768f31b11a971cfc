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
        if not all(map(is_inexact, leaves)):
            return leaves[0]
        return f(*map(jnp.asarray, leaves))

    return jax.tree.map(map_leaf, tree, *rest, is_leaf=is_empty)


def init_inexact(
    f: Callable[[jax.typing.ArrayLike], jax.Array], params: optax.Params
) -> optax.Params:
    """``f(leaf)`` for floating-point or complex leaves, ``MaskedNode()`` for others."""
    return jax.tree.map(
        lambda leaf: f(leaf) if is_inexact(leaf) else optax.MaskedNode(), params
    )


def zero_accumulators(
    params: optax.Params, accumulator_dtype: jax.typing.DTypeLike | None
) -> optax.Params:
    """Zeros like the floating-point leaves, of the dtype in which to accumulate."""

    def zeros(p: jax.typing.ArrayLike) -> jax.Array:
        return jnp.zeros_like(p, dtype=accumulator_dtype_for(p, accumulator_dtype))

    return init_inexact(zeros, params)


def accumulator_dtype_for(
    leaf: jax.typing.ArrayLike,
    accumulator_dtype: jax.typing.DTypeLike | None = None,
    name: str = "accumulator_dtype",
) -> jnp.dtype:
    """The dtype in which to accumulate ``leaf``: at least float32 unless given.

    Complex leaves keep a complex accumulator, of the precision asked for.
    """
    dtype = jnp.result_type(leaf)
    if accumulator_dtype is None:
        return at_least_float32(dtype)
    wanted = jnp.dtype(accumulator_dtype)
    accumulator_dtype = jax.dtypes.canonicalize_dtype(wanted)
    if accumulator_dtype != wanted:
        raise ValueError(
            f"{name}={wanted} needs jax_enable_x64, without which JAX has "
            f"{accumulator_dtype} at most."
        )
    if jnp.issubdtype(dtype, jnp.complexfloating):
        return jnp.dtype(
            jnp.complex128 if accumulator_dtype == "float64" else "complex64"
        )
    return accumulator_dtype


def at_least_float32(dtype: jnp.dtype) -> jnp.dtype:
    """``dtype``, or float32 for the 16-bit and narrower floating-point dtypes."""
    return jnp.dtype(jnp.float32) if jnp.finfo(dtype).bits < 32 else dtype


def path_name(path: tuple[jax.tree_util.KeyEntry, ...]) -> str:
    """The keys from the root, joined by slashes: ``"decoder/0/kernel"``."""
    # The variables of Flax NNX hold their array as an attribute: "kernel", "value".
    if path and path[-1] == jax.tree_util.GetAttrKey("value"):
        path = path[:-1]
    return jax.tree_util.keystr(path, simple=True, separator="/")


def is_empty(leaf: object) -> bool:
    """Whether a leaf stands for no array: ``None`` or masked."""
    return leaf is None or isinstance(leaf, optax.MaskedNode)


def is_inexact(leaf: object) -> bool:
    """Whether a leaf is a floating-point or complex number or array."""
    if is_empty(leaf):
        return False
    dtype = leaf.dtype if hasattr(leaf, "dtype") else jnp.result_type(leaf)
    return bool(jnp.issubdtype(dtype, jnp.inexact))
