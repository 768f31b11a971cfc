"""Many runs as one program: lanes that differ in traced settings alone.

A chunk of steps advances all lanes, in one of two ways: *batched* by ``vmap``, each
operation doing the work of all lanes at once, or *looped* by ``lax.map``, lane after
lane, on one device with the same numbers as a run alone. With several devices the lanes
are divided among them; they never communicate. ``benchmarks/RESULTS.md`` shows which is
the faster way.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.engine.train import (
    StepLog,
    TrainState,
    evaluate,
    initialize,
    run_chunk,
)
from experiments.settings.config import Config

WAYS = ("vmap", "map")


def stack(configs: Sequence[Config]) -> tuple[Config, dict[str, Any]]:
    """The static part of some configurations, and their traced settings, ``[lanes]``.

    Raises:
      ValueError: they differ in a static setting.
    """
    static, *others = {config.static(): None for config in configs}
    if others:
        raise ValueError(
            f"lanes of one program must agree in what is static: {static}, {others[0]}."
        )
    traced = [config.traced() for config in configs]
    return static, {name: jnp.stack([t[name] for t in traced]) for name in traced[0]}


def take(state: TrainState, lanes: np.ndarray) -> TrainState:
    """The state of some of the lanes."""
    return TrainState(state.step, *jax.tree.map(lambda a: a[lanes], state[1:]))


@functools.partial(jax.jit, static_argnames="config")
def initialize_lanes(config: Config, hyper: dict[str, Any]) -> TrainState:
    """The states before the first step; arguments as for :func:`run_chunk_of_lanes`."""
    # Looped in any case: the same initial weights as a run alone, bit for bit.
    states = jax.lax.map(lambda h: initialize(config, h), hyper)
    return states._replace(step=states.step[0])


@functools.partial(
    jax.jit,
    static_argnames=("config", "length", "way", "mesh"),
    donate_argnames="state",
)
def run_chunk_of_lanes(
    config: Config,
    length: int,
    hyper: dict[str, Any],
    data: Any,
    state: TrainState,
    *,
    way: str,
    mesh: jax.sharding.Mesh | None = None,
) -> tuple[TrainState, StepLog]:
    """``length`` training steps of every lane.

    Args:
      config: what is static.
      length: number of steps, static.
      hyper: what is traced, each ``[lanes]``.
      data: ``task.load()`` on the device, shared by the lanes.
      state: states before the first of these steps; donated.
      way: "vmap" or "map".
      mesh: devices to divide the lanes among, as many to each; None for one device.

    Returns:
      The new states, and what each step told, ``[lanes, length]`` in front.
    """

    def advance(hyper, state, data):
        state, log = run_chunk(config, length, hyper, data, state)
        return state[1:], log

    rest, log = _on_every_lane(advance, hyper, state, data, way, mesh)
    return TrainState(state.step + length, *rest), log


@functools.partial(jax.jit, static_argnames=("config", "way", "mesh"))
def evaluate_lanes(
    config: Config,
    hyper: dict[str, Any],
    data: Any,
    state: TrainState,
    *,
    way: str,
    mesh: jax.sharding.Mesh | None = None,
) -> dict[str, jax.Array]:
    """The metrics of :func:`experiments.engine.train.evaluate`, each ``[lanes]``."""

    def measure(hyper, state, data):
        return evaluate(config, hyper, data, state)

    return _on_every_lane(measure, hyper, state, data, way, mesh)


def _on_every_lane(
    function: Callable[..., Any],
    hyper: dict[str, Any],
    state: TrainState,
    data: Any,
    way: str,
    mesh: jax.sharding.Mesh | None,
) -> Any:
    """Apply to every lane; each device to its own, if there are several.

    The step is shared by all lanes, so that branches on it stay branches under vmap.
    """

    def on_own(hyper, step, rest, data):
        def one(hyper, rest):
            return function(hyper, TrainState(step, *rest), data)

        if way == "vmap":
            return jax.vmap(one)(hyper, rest)
        return jax.lax.map(lambda lane: one(*lane), (hyper, rest))

    if mesh is not None:
        lanes, everywhere = jax.P(mesh.axis_names[0]), jax.P()
        on_own = jax.shard_map(
            on_own,
            mesh=mesh,
            in_specs=(lanes, everywhere, lanes, everywhere),
            out_specs=lanes,
            check_vma=False,  # the step's random bits and branches carry no such types
        )
    return on_own(hyper, state.step, tuple(state[1:]), data)
