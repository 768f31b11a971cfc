"""Norms of numbers of any size: float32 squares of 1e-20 are 0, of 1e20 infinite."""

import jax
import jax.numpy as jnp
import optax

from experiments.settings.measure import UNDEFINED
from experiments.settings.task import PyTree

_LARGE = 1e15  # its square, and that of its inverse, are far from the ends of float32


def norm(tree: PyTree) -> jax.Array:
    """The Euclidean norm over all leaves; Optax's own, where that is in order."""
    plain = optax.tree.norm(tree)

    def of_scaled() -> jax.Array:
        divided, power = _scaled(tree)
        return optax.tree.norm(divided) * power

    return jax.lax.cond(_is_ordinary(plain), lambda: plain, of_scaled)


def cosine(a: PyTree, b: PyTree) -> jax.Array:
    """Cosine of the angle between two vectors; undefined if one of them is zero."""

    def plain(a: PyTree, b: PyTree) -> jax.Array:
        norms = optax.tree.norm(a) * optax.tree.norm(b)
        return ratio(optax.tree.vdot(a, b), norms)

    found = plain(a, b)
    ordinary = _is_ordinary(optax.tree.norm(a)) & _is_ordinary(optax.tree.norm(b))
    return jax.lax.cond(
        ordinary, lambda: found, lambda: plain(_scaled(a)[0], _scaled(b)[0])
    )


def ratio(a: jax.Array, b: jax.Array) -> jax.Array:
    """The ratio of two numbers, ``UNDEFINED`` for a divisor of zero."""
    return jnp.where(b == 0, UNDEFINED, a / jnp.where(b == 0, 1.0, b))


def clip(max_norm: jax.typing.ArrayLike) -> optax.GradientTransformation:
    """``optax.clip_by_global_norm``, which makes zeros of gradients above 1e19."""

    def clipped(updates: optax.Updates, params: optax.Params | None) -> optax.Updates:
        del params
        size = norm(updates)
        return jax.tree.map(
            lambda u: jnp.where(size < max_norm, u, u / size * max_norm), updates
        )

    return optax.stateless(clipped)


def _is_ordinary(norm: jax.Array) -> jax.Array:
    return (norm > 1 / _LARGE) & (norm < _LARGE)


def _scaled(tree: PyTree) -> tuple[PyTree, jax.Array]:
    """The tree divided by a power of two, its largest magnitude in [1, 2); the power.

    Zeros stay zeros; infinities and NaN stay what they are.
    """
    largest = optax.tree.norm(tree, ord=jnp.inf)
    info = jnp.finfo(largest.dtype)
    bits = jax.lax.bitcast_convert_type(largest, f"uint{info.bits}")
    # By its bits the power is exact on every device; it and its inverse are normal.
    bias = info.maxexp - 1
    exponent = jnp.clip(bits >> info.nmant, 1, 2 * bias - 1)

    def power(exponent: jax.Array) -> jax.Array:
        return jax.lax.bitcast_convert_type(exponent << info.nmant, largest.dtype)

    inverse = power(2 * bias - exponent)
    return jax.tree.map(lambda a: a * inverse, tree), power(exponent)
