"""A loss, its slope and its arguments along the direction of an update."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from grokfast_jax._matching import check_match, check_params
from grokfast_jax._trees import is_empty, is_inexact, map_inexact

ValueFn = Callable[..., Any]


def search_dtype(params: optax.Params) -> jnp.dtype:
    """The widest real dtype of the parameters, float32 at least."""
    dtypes = [jnp.result_type(p) for p in jax.tree.leaves(params) if is_inexact(p)]
    return jnp.finfo(jnp.result_type(jnp.float32, *dtypes)).dtype


class Given(NamedTuple):
    """What an update was given of the loss, checked: f(θ), its gradient, and f."""

    value: jax.typing.ArrayLike
    grad: optax.Updates
    value_fn: ValueFn


def checked(
    name: str,
    updates: optax.Updates,
    params: optax.Params | None,
    value: jax.typing.ArrayLike | None,
    grad: optax.Updates | None,
    value_fn: ValueFn | None,
) -> Given:
    """Check that ``update`` was given all that a search needs.

    Inside of ``optax.partition`` or ``masked``, which mask the parameters but no extra
    argument, the gradient is masked as they are.
    """
    if value is None or grad is None or value_fn is None or params is None:
        given = {"params": params, "value": value, "grad": grad, "value_fn": value_fn}
        missing = ", ".join(key for key, it in given.items() if it is None)
        raise ValueError(
            f"{name} needs tx.update(grad, state, params, value=loss, grad=grad, "
            f"value_fn=loss_of_params), got no {missing}."
        )
    if not callable(value_fn):
        raise TypeError(
            "value_fn must be a function of the parameters that returns their loss, "
            f"got {value_fn!r}."
        )
    check_params(updates, params)
    grad = _masked_as(params, grad)
    check_match(grad, params, "the parameter tree")
    return Given(value, grad, value_fn)


def _masked_as(params: optax.Params, gradient: optax.Updates) -> optax.Updates:
    def is_masked(leaf: object) -> bool:
        return isinstance(leaf, optax.MaskedNode)

    if not any(map(is_masked, jax.tree.leaves(params, is_leaf=is_masked))):
        return gradient
    return jax.tree.map(
        lambda p, g: p if is_masked(p) else g, params, gradient, is_leaf=is_empty
    )


def slope_along(
    direction: optax.Updates, grad: optax.Updates, dtype: jnp.dtype
) -> jax.Array:
    """⟨g, d⟩ of the update −d: how fast the loss falls along it."""
    total = jnp.zeros([], dtype)
    pairs = jax.tree.map(lambda *pair: pair, direction, grad)
    for u, g in jax.tree.leaves(pairs, is_leaf=lambda node: type(node) is tuple):
        if is_inexact(u):
            wide = jnp.result_type(u, dtype)
            product = jnp.asarray(u, wide) * jnp.asarray(g, wide)
            total -= jnp.sum(product.real)
    return total


def scaled(step_size: jax.Array, direction: optax.Updates) -> optax.Updates:
    """The update η u, in the dtypes of u; 0 where η is, whatever u."""

    def scale(u: jax.Array) -> jax.Array:
        wide = jnp.result_type(u, step_size.dtype)
        product = jnp.asarray(step_size, wide) * jnp.asarray(u, wide)
        return jnp.where(step_size > 0, product, 0).astype(u.dtype)

    return map_inexact(scale, direction)


def loss_along(
    value_fn: ValueFn,
    params: optax.Params,
    direction: optax.Updates,
    extra_args: Mapping[str, Any],
) -> Callable[[jax.Array], jax.Array]:
    """The loss as a function of η, at the very parameters that a step of η gives.

    ``value_fn`` gets those of the extra arguments that it takes. Of what it returns
    with auxiliary output, a tuple, the first is the loss.
    """
    arguments = _taken(value_fn, extra_args)

    def value_at(step_size: jax.Array) -> jax.Array:
        there = optax.apply_updates(params, scaled(step_size, direction))
        result = value_fn(there, **arguments)
        value = jnp.asarray(result[0] if isinstance(result, tuple) else result)
        if value.ndim:
            raise ValueError(
                f"value_fn must return a scalar loss, got the shape {value.shape}."
            )
        return value

    return value_at


def _taken(value_fn: ValueFn, extra_args: Mapping[str, Any]) -> dict[str, Any]:
    parameters = inspect.signature(value_fn).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return dict(extra_args)
    names = {p.name for p in parameters if p.kind is not p.POSITIONAL_ONLY}
    return {name: value for name, value in extra_args.items() if name in names}
