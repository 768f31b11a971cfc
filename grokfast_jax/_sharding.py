"""Where the state of an optimizer lives on many devices, told from its parameters."""

import jax
import optax
from jax.sharding import NamedSharding, PartitionSpec

from grokfast_jax._checks import suggest_keywords
from grokfast_jax._trees import PyTree


@suggest_keywords
def state_sharding(
    tx: optax.GradientTransformation, params: PyTree, param_shardings: PyTree
) -> PyTree:
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
      ValueError: param_shardings is no prefix of params, a sharding has more axes than
        its parameter, params has no leaf, or ``optax.tree.map_params`` does not know
        the optimizer.

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

      With Flax NNX, whose optimizer has made its state already::

        optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
        params = nnx.as_pure(nnx.state(model, nnx.Param))
        shardings = state_sharding(
            tx, params, jax.tree.map(lambda p: p.sharding, params)
        )
        state = jax.device_put(nnx.as_pure(optimizer.opt_state), shardings)
        nnx.update(optimizer.opt_state, nnx.state(state))
    """
    params = jax.eval_shape(lambda tree: tree, params)
    spread = jax.tree.broadcast(param_shardings, params)
    leaves = jax.tree.leaves(spread)
    for leaf, param in zip(leaves, jax.tree.leaves(params), strict=True):
        if not isinstance(leaf, NamedSharding):
            raise TypeError(
                f"param_shardings must be of jax.sharding.NamedSharding, got {leaf!r}."
            )
        if len(leaf.spec) > len(param.shape):
            raise ValueError(
                f"{leaf.spec} has more axes than a parameter of shape {param.shape}."
            )
    if not leaves:
        raise ValueError("params must hold at least one array, got none.")
    replicated = NamedSharding(leaves[0].mesh, PartitionSpec())

    def shard(
        state: jax.ShapeDtypeStruct | optax.MaskedNode,
        sharding: NamedSharding,
        param: jax.ShapeDtypeStruct,
    ) -> NamedSharding | optax.MaskedNode:
        if isinstance(state, optax.MaskedNode):
            return state
        extra = len(state.shape) - len(param.shape)
        if state.shape[extra:] != param.shape:  # so is every state of fewer axes
            return replicated
        return _with_axes_in_front(sharding, extra, len(state.shape))

    abstract = jax.eval_shape(tx.init, params)
    try:
        return optax.tree.map_params(
            tx,
            shard,
            abstract,
            spread,
            params,
            transform_non_params=lambda _: replicated,
            is_leaf=lambda node: isinstance(node, optax.MaskedNode),
        )
    except (IndexError, ValueError) as error:
        raise ValueError(
            "optax.tree.map_params cannot tell which state of this optimizer belongs "
            "to which parameter (so it is with optax.lbfgs and optax.sm3)."
        ) from error


def _with_axes_in_front(
    sharding: NamedSharding, extra: int, ndim: int
) -> NamedSharding:
    """The sharding spelled as the update spells its results.

    ``P("x")`` and ``P("x", None)`` are one sharding but two keys of the cache of
    compiled programs: spelled otherwise, the second update would compile again.
    """
    axes = [None] * extra + list(sharding.spec)
    if jax.sharding.AxisType.Explicit in sharding.mesh.axis_types:
        axes += [None] * (ndim - len(axes))
    else:
        while axes and axes[-1] is None:
            axes.pop()
    spec = PartitionSpec(*axes)
    return NamedSharding(sharding.mesh, spec, memory_kind=sharding.memory_kind)
