"""The compiled training engine: one scanned chunk of steps. Pure: no I/O, no printing.

``initialize`` makes the state of a run, ``run_chunk`` advances it, ``evaluate``
measures it: three programs, each compiled once. Everything random derives from the
seed, the epoch and the step, so a run that is interrupted and resumed goes on with the
same numbers, and nothing random needs to be saved.

A configuration is a pytree whose leaves are the traced settings: runs that differ in
them alone share the programs.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import optax

from experiments.engine.compiled import compiled
from experiments.engine.objective import Loss, mean_loss
from experiments.engine.state import (
    Keys,
    StepLog,
    TrainState,
    in_dtype,
    with_precision,
)
from experiments.methods.chain import build_optimizer
from experiments.methods.observe import state_of
from experiments.methods.projections import ProjectedState, directions
from experiments.settings.config import Config
from experiments.settings.task import Data, Examples, Key, Params

T = TypeVar("T")


@jax.jit
def initialize(config: Config, data: Data) -> TrainState:
    """The state before the first step; arguments as for :func:`run_chunk`."""
    keys = Keys.from_seed(config.training.seed)
    # Drawn in float32 in any case: a run in double precision starts from these too.
    start = config.task.init(keys.init, data)
    params, model_state = in_dtype(start, config.training.dtype)
    params = jax.tree.map(lambda p: p * config.training.init_scale, params)
    opt_state = build_optimizer(config).init(params)
    return TrainState(jnp.zeros([], jnp.int32), params, model_state, opt_state)


@compiled(static_argnames="length", donate_argnames="state")
@with_precision
def run_chunk(
    config: Config, length: int, data: Data, state: TrainState
) -> tuple[TrainState, StepLog]:
    """``length`` training steps in one scan.

    Args:
      config: ``Config.traced()``.
      length: number of steps, static.
      data: ``task.load()`` on the device.
      state: state before the first of these steps; donated.

    Returns:
      The new state, and what each step told.
    """
    task, training = config.task, config.training
    keys = Keys.from_seed(training.seed)
    optimizer, loss = build_optimizer(config), mean_loss(task)
    splits = task.splits(data, keys.split)
    data, split = task.with_split(data, splits), splits["train"]
    size = len(split)
    batch_size = min(training.batch_size, size)
    signs = None
    if training.gradient_projections:
        signs = directions(training.seed, training.gradient_projections, state.params)
    steps_per_epoch, last_size = -(-size // batch_size), size % batch_size

    def step_and_order(carry: tuple[TrainState, jax.Array], i: jax.Array) -> Any:
        state, order = carry
        epoch, batch = state.step // steps_per_epoch, state.step % steps_per_epoch
        # True branches even under vmap: the step is shared by all lanes.
        order = jax.lax.cond(
            (i == 0) | (batch == 0),
            lambda: task.order(data, keys.order, epoch, size).astype(jnp.int32),
            lambda: order,
        )

        def on_batch(function: Callable[[Examples], T]) -> T:
            """Apply to this step's examples: fewer at the end of an epoch."""

            def on_rows(count: int) -> T:
                rows = jax.lax.dynamic_slice_in_dim(order, batch * batch_size, count)
                return task.on_examples(function, data, split[rows])

            if last_size == 0:
                return on_rows(batch_size)
            return jax.lax.cond(
                batch == steps_per_epoch - 1,
                lambda: on_rows(last_size),
                lambda: on_rows(batch_size),
            )

        key = jax.random.fold_in(keys.step, state.step)
        state, value = train_step(
            loss,
            optimizer,
            state,
            on_batch,
            key,
            observed=i == length - 1,
            directions=signs,
        )
        seen = None
        if signs is not None:
            seen = state_of(state.opt_state, ProjectedState).projections
        return (state, order), StepLog(value, seen)

    no_order = jnp.zeros(size, jnp.int32)  # the first step makes it
    (state, _), log = jax.lax.scan(
        step_and_order, (state, no_order), jnp.arange(length)
    )
    return state, log


def train_step(
    loss: Loss,
    optimizer: optax.GradientTransformationExtraArgs,
    state: TrainState,
    on_batch: Callable[[Callable[[Examples], Any]], Any],
    key: Key,
    observed: jax.Array,
    directions: Params | None = None,
) -> tuple[TrainState, jax.Array]:
    """One update; also returns the loss before it.

    ``on_batch`` applies a function to the step's examples. ``observed`` tells whether
    to measure what the filter does to this gradient. ``directions`` are those of
    :mod:`experiments.methods.projections`, if the optimizer projects.
    """
    step, params, model_state, opt_state = state
    (value, new_model_state), gradient = on_batch(
        lambda examples: loss.value_and_grad(params, model_state, examples, key)
    )

    def value_fn(params: Params) -> jax.Array:
        # For line searches; all trials share the step's key.
        return on_batch(lambda rows: loss.value(params, model_state, rows, key)[0])

    updates, opt_state = optimizer.update(
        gradient,
        opt_state,
        params,
        value=value,
        grad=gradient,
        value_fn=value_fn,
        observed=observed,
        directions=directions,
    )
    params = optax.apply_updates(params, updates)
    return TrainState(step + 1, params, new_model_state, opt_state), value
