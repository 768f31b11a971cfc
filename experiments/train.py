"""The compiled training engine: one scanned chunk of steps. Pure: no I/O, no printing.

``initialize`` makes the state of a run, ``run_chunk`` advances it. Everything random
derives from the seed, the epoch and the step, so a run that is interrupted and resumed
goes on with the same numbers, and nothing random needs to be saved.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from experiments.config import Config
from experiments.observe import measures, weight_norms
from experiments.optimizers import build_optimizer


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
def initialize(
    config: Config, hyper: dict[str, Any], data: Any
) -> tuple[TrainState, dict[str, jax.Array]]:
    """The state before the first step, and its metrics."""
    keys = Keys.from_seed(hyper["seed"])
    params, model_state = config.task.init(keys.init)
    params = jax.tree.map(lambda p: p * hyper["init_scale"].astype(p.dtype), params)
    opt_state = build_optimizer(config, hyper).init(params)
    state = TrainState(jnp.zeros([], jnp.int32), params, model_state, opt_state)
    return state, evaluate(config, hyper, data, state)


@functools.partial(
    jax.jit, static_argnames=("config", "length"), donate_argnames="state"
)
def run_chunk(
    config: Config, length: int, hyper: dict[str, Any], data: Any, state: TrainState
) -> tuple[TrainState, dict[str, jax.Array], jax.Array]:
    """``length`` training steps in one scan, then an evaluation on the full splits.

    Args:
      config: what is static, ``Config.static()``.
      length: number of steps, static.
      hyper: what is traced, ``Config.traced()``.
      data: ``task.load()`` on the device.
      state: state before the first of these steps; donated.

    Returns:
      The new state, its metrics, and the training loss of each step before its
      update, ``[length]``.
    """
    state, losses = train_steps(config, length, hyper, data, state)
    return state, evaluate(config, hyper, data, state), losses


def train_steps(
    config: Config, length: int, hyper: dict[str, Any], data: Any, state: TrainState
) -> tuple[TrainState, jax.Array]:
    """The steps of :func:`run_chunk`: the new state, and the losses."""
    task = config.task
    keys = Keys.from_seed(hyper["seed"])
    optimizer = build_optimizer(config, hyper)
    training, _ = task.split(data, keys.split)
    size = _size(training)
    batch_size = min(config.training.batch_size, size)
    steps_per_epoch, last_size = -(-size // batch_size), size % batch_size

    def order_of(epoch: jax.Array) -> jax.Array:
        return task.order(data, keys.order, epoch, size)

    def step_and_order(carry, is_last):
        state, order = carry
        epoch, batch = state.step // steps_per_epoch, state.step % steps_per_epoch
        # True branches even under vmap: the step is shared by all lanes.
        order = jax.lax.cond(batch == 0, lambda: order_of(epoch), lambda: order)

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
            task, optimizer, state, on_batch, key, observed=is_last
        )
        return (state, order), loss

    order = order_of(state.step // steps_per_epoch)
    (state, _), losses = jax.lax.scan(
        step_and_order, (state, order), jnp.arange(length) == length - 1
    )
    return state, losses


def train_step(
    task: Any,
    optimizer: optax.GradientTransformationExtraArgs,
    state: TrainState,
    on_batch: Callable[[Callable[[Any], Any]], Any],
    key: jax.Array,
    observed: jax.Array,
) -> tuple[TrainState, jax.Array]:
    """One update; also returns the loss before it.

    ``on_batch`` applies a function to the step's examples. ``observed`` tells whether
    to measure what the filter does to this gradient.
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
    )
    params = optax.apply_updates(params, updates)
    return TrainState(step + 1, params, new_model_state, opt_state), loss


def evaluate(
    config: Config, hyper: dict[str, Any], data: Any, state: TrainState
) -> dict[str, jax.Array]:
    """Mean metrics on the full splits, norms, and what the filter did.

    The means are ``train_loss``, ``validation_loss`` and so on; the rest are those of
    :mod:`experiments.observe`. Both splits go through the model as one table in
    batches of the training size: activations stay in the cache, and the model is
    compiled once, not once a split.
    """
    splits = config.task.split(data, Keys.from_seed(hyper["seed"]).split)
    size = _size(splits[0])
    batch_size = min(config.training.batch_size, size)
    table = jax.tree.map(lambda *parts: jnp.concatenate(parts), *splits)
    rows = _size(table)
    padding = -rows % batch_size

    def batches(a: jax.Array) -> jax.Array:
        padded = jnp.concatenate([a, a[:padding]])
        return padded.reshape(-1, batch_size, *a.shape[1:])

    each = jax.lax.map(
        lambda batch: config.task.metrics(state.params, state.model_state, batch),
        jax.tree.map(batches, table),
    )
    means = {}
    for name, values in each.items():
        values = values.reshape(-1)[:rows]
        means[f"train_{name}"] = jnp.mean(values[:size], dtype=jnp.float32)
        means[f"validation_{name}"] = jnp.mean(values[size:], dtype=jnp.float32)
    return means | weight_norms(state.params) | measures(state.opt_state)


def _size(examples: Any) -> int:
    return jax.tree.leaves(examples)[0].shape[0]
