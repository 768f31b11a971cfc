"""Where the state of an optimizer lives on many devices, told from its parameters."""

from typing import Any

import jax
import optax
from jax.sharding import NamedSharding, PartitionSpec


def state_sharding(
    tx: optax.GradientTransformation, params: Any, param_shardings: Any
) -> Any:
    """Shardings of a whole optimizer state, such that an update needs no communication.

    State shaped like a parameter p gets the sharding of p. State with further axes in
    front, ``(w, *p.shape)``, such as the window of :func:`moving_average`, gets it with
    those axes on every device. All else (counters, injected hyper-parameters, factored
    moments) is replicated. ``optax.tree.map_params`` alone would put the first axis of
    p's sharding on the window.

    Args:
      tx: the whole optimizer.
      params: parameters, as arrays or ``jax.ShapeDtypeStruct``.
      param_shardings: ``jax.sharding.NamedSharding`` for each parameter: a tree like
        params, a prefix of it, or one sharding for all.

    Returns:
      A tree like ``tx.init(params)`` of ``NamedSharding``: for ``out_shardings`` of
      ``jax.jit(tx.init, out_shardings=…)``, for ``jax.device_put``, or to restore a
      checkpoint.

    Raises:
      TypeError: a sharding that is no NamedSharding.
      ValueError: param_shardings is no prefix of params, or params has no leaf.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from grokfast_jax import moving_average, state_sharding
      >>> mesh = jax.make_mesh((1,), ("data",))
      >>> rows = jax.sharding.NamedSharding(mesh, jax.P("data", None))
      >>> params = jax.device_put(jnp.ones((8, 4)), rows)
      >>> tx = moving_average(100)
      >>> shardings = state_sharding(tx, params, rows)
      >>> tuple(shardings.total.spec), tuple(shardings.ring.spec)
      (('data', None), (None, 'data', None))
      >>> state = jax.jit(tx.init, out_shardings=shardings)(params)
    """
    spread = jax.tree.broadcast(param_shardings, params)
    leaves = jax.tree.leaves(spread)
    for leaf in leaves:
        if not isinstance(leaf, NamedSharding):
            raise TypeError(
                f"param_shardings must be of jax.sharding.NamedSharding, got {leaf!r}."
            )
    if not leaves:
        raise ValueError("params must hold at least one array, got none.")
    replicated = NamedSharding(leaves[0].mesh, PartitionSpec())

    def shard(state: Any, sharding: NamedSharding, param: Any) -> Any:
        if isinstance(state, optax.MaskedNode):
            return state
        extra = len(state.shape) - len(param.shape)
        if state.shape[extra:] != param.shape:  # so is every state of fewer axes
            return replicated
        spec = PartitionSpec(*(None,) * extra, *sharding.spec)
        return NamedSharding(sharding.mesh, spec, memory_kind=sharding.memory_kind)

    return optax.tree.map_params(
        tx,
        shard,
        jax.eval_shape(tx.init, params),
        spread,
        params,
        transform_non_params=lambda _: replicated,
        is_leaf=lambda node: isinstance(node, optax.MaskedNode),
    )
