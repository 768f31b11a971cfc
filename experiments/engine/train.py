"""The compiled training engine: one scanned chunk of steps. Pure: no I/O, no printing.

``initialize`` makes the state of a run, ``run_chunk`` advances it, ``evaluate``
measures it: three programs, each compiled once. Everything random derives from the
seed, the epoch and the step, so a run that is interrupted and resumed goes on with the
same numbers, and nothing random needs to be saved.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from experiments.methods.observe import measures, weight_norms
from experiments.methods.optimizers import build_optimizer
from experiments.methods.projections import directions
from experiments.settings.config import Config

_EVALUATION_BATCH = 1024  # examples at most


class TrainState(NamedTuple):
    """State of a run between two chunks.

    Attributes:
      step: optimizer updates done, int32. Shared by all lanes of a batched run.
      params: model parameters.
      model_state: what the model changes without gradients, or ``()``.
      opt_state: state of the filter and the optimizer.
    """

    step: jax.Array
    params: Any
    model_state: Any
    opt_state: Any


class StepLog(NamedTuple):
    """What the steps of a chunk told.

    Attributes:
      loss: training loss before each update, ``[length]``.
      projections: of each gradient, ``[length, gradient_projections]``, or None if
        there are none; see :mod:`experiments.methods.projections`.
    """

    loss: jax.Array
    projections: jax.Array | None


class Keys(NamedTuple):
    """Independent random keys of one run, all derived from its seed."""

    init: jax.Array
    split: jax.Array
    order: jax.Array
    step: jax.Array

    @classmethod
    def from_seed(cls, seed: jax.Array) -> "Keys":
        """Keys for a traced or concrete seed."""
        return cls(*jax.random.split(jax.random.key(seed), len(cls._fields)))


@functools.partial(jax.jit, static_argnames="config")
def initialize(config: Config, hyper: dict[str, Any]) -> TrainState:
    """The state before the first step; arguments as for :func:`run_chunk`."""
    keys = Keys.from_seed(hyper["seed"])
    # Drawn in float32 in any case: a run in double precision starts from these too.
    params, model_state = jax.tree.map(
        lambda a: a.astype(config.training.dtype) if _is_floating(a) else a,
        config.task.init(keys.init),
    )
    params = jax.tree.map(lambda p: p * hyper["init_scale"], params)
    opt_state = build_optimizer(config, hyper).init(params)
    return TrainState(jnp.zeros([], jnp.int32), params, model_state, opt_state)


def _with_precision(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: ``matmul_precision`` of the configuration, the first argument."""

    @functools.wraps(function)
    def traced(config: Config, *args: Any, **kwargs: Any) -> Any:
        with jax.default_matmul_precision(config.training.matmul_precision):
            return function(config, *args, **kwargs)

    return traced


@functools.partial(
    jax.jit, static_argnames=("config", "length"), donate_argnames="state"
)
@_with_precision
def run_chunk(
    config: Config, length: int, hyper: dict[str, Any], data: Any, state: TrainState
) -> tuple[TrainState, StepLog]:
    """``length`` training steps in one scan.

    Args:
      config: what is static, ``Config.static()``.
      length: number of steps, static.
      hyper: what is traced, ``Config.traced()``.
      data: ``task.load()`` on the device.
      state: state before the first of these steps; donated.

    Returns:
      The new state, and what each step told.
    """
    task = config.task
    keys = Keys.from_seed(hyper["seed"])
    optimizer = build_optimizer(config, hyper)
    training, _ = task.split(data, keys.split)
    size = _size(training)
    batch_size = min(config.training.batch_size, size)
    projections = config.training.gradient_projections
    signs = None
    if projections:
        signs = directions(hyper["seed"], projections, state.params)
    steps_per_epoch, last_size = -(-size // batch_size), size % batch_size

    def step_and_order(carry, i):
        state, order = carry
        epoch, batch = state.step // steps_per_epoch, state.step % steps_per_epoch
        # True branches even under vmap: the step is shared by all lanes.
        order = jax.lax.cond(
            (i == 0) | (batch == 0),
            lambda: task.order(data, keys.order, epoch, size).astype(jnp.int32),
            lambda: order,
        )

        def on_batch(function: Callable[[Any], Any]) -> Any:
            """Apply to this step's examples: fewer at the end of an epoch."""

            def on_rows(count: int) -> Any:
                rows = jax.lax.dynamic_slice_in_dim(order, batch * batch_size, count)
                return function(jax.tree.map(lambda a: a[rows], training))

            if last_size == 0:
                return on_rows(batch_size)
            return jax.lax.cond(
                batch == steps_per_epoch - 1,
                lambda: on_rows(last_size),
                lambda: on_rows(batch_size),
            )

        key = jax.random.fold_in(keys.step, state.step)
        state, loss = train_step(
            task,
            optimizer,
            state,
            on_batch,
            key,
            observed=i == length - 1,
            directions=signs,
        )
        seen = optax.tree.get(state.opt_state, "projections") if projections else None
        return (state, order), StepLog(loss, seen)

    no_order = jnp.zeros(size, jnp.int32)  # the first step makes it
    (state, _), log = jax.lax.scan(
        step_and_order, (state, no_order), jnp.arange(length)
    )
    return state, log


def train_step(
    task: Any,
    optimizer: optax.GradientTransformationExtraArgs,
    state: TrainState,
    on_batch: Callable[[Callable[[Any], Any]], Any],
    key: jax.Array,
    observed: jax.Array,
    directions: Any = None,
) -> tuple[TrainState, jax.Array]:
    """One update; also returns the loss before it.

    ``on_batch`` applies a function to the step's examples. ``observed`` tells whether
    to measure what the filter does to this gradient. ``directions`` are those of
    :mod:`experiments.methods.projections`, if the optimizer projects.
    """
    step, params, model_state, opt_state = state
    (loss, new_model_state), gradient = on_batch(
        lambda examples: task.value_and_grad(params, model_state, examples, key)
    )

    def value_fn(params):  # for line searches; all trials share the step's key
        return on_batch(lambda rows: task.loss(params, model_state, rows, key)[0])

    updates, opt_state = optimizer.update(
        gradient,
        opt_state,
        params,
        value=loss,
        grad=gradient,
        value_fn=value_fn,
        observed=observed,
        directions=directions,
    )
    params = optax.apply_updates(params, updates)
    return TrainState(step + 1, params, new_model_state, opt_state), loss


@functools.partial(jax.jit, static_argnames="config")
@_with_precision
def evaluate(
    config: Config, hyper: dict[str, Any], data: Any, state: TrainState
) -> dict[str, jax.Array]:
    """Mean metrics on the full splits, norms, and what the filter did.

    The means are ``train_loss``, ``validation_loss`` and so on; the rest are those of
    :mod:`experiments.methods.observe`. Both splits go through the model as one table in
    batches of about a thousand: activations stay in the cache, and the model is
    compiled once, not once a split.
    """
    splits = config.task.split(data, Keys.from_seed(hyper["seed"]).split)
    table = jax.tree.map(lambda *parts: jnp.concatenate(parts), *splits)
    size, rows = _size(splits[0]), _size(table)
    batch_size = -(-rows // -(-rows // _EVALUATION_BATCH))
    padding = -rows % batch_size

    def batches(a: jax.Array) -> jax.Array:
        padded = jnp.concatenate([a, a[:padding]])
        return padded.reshape(-1, batch_size, *a.shape[1:])

    def metrics(batch: Any) -> dict[str, jax.Array]:
        return config.task.metrics(state.params, state.model_state, batch)

    each = jax.lax.map(metrics, jax.tree.map(batches, table))
    means = {}
    for name, values in each.items():
        values = values.reshape(-1)[:rows]
        mean = functools.partial(jnp.mean, dtype=config.training.dtype)
        means[f"train_{name}"] = mean(values[:size])
        means[f"validation_{name}"] = mean(values[size:])
    return means | weight_norms(state.params) | measures(state.opt_state)


def _is_floating(a: jax.Array) -> bool:
    return jnp.issubdtype(a.dtype, jnp.floating)


def _size(examples: Any) -> int:
    return jax.tree.leaves(examples)[0].shape[0]
