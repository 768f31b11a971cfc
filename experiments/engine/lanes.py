"""Many runs as one program: lanes that differ in traced settings alone.

A chunk of steps advances all lanes, in one of two ways: *batched* by ``vmap``, each
operation doing the work of all lanes at once, or *looped* by ``lax.map``, lane after
lane, on one device with the same numbers as a run alone. With several devices the lanes
are divided among them; they never communicate. ``benchmarks/RESULTS.md`` shows which is
the faster way.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.engine.compiled import compiled
from experiments.engine.evaluate import Evaluation, evaluate
from experiments.engine.state import StepLog, TrainState
from experiments.engine.train import initialize, run_chunk
from experiments.settings.config import Config
from experiments.settings.task import Data

WAYS = ("vmap", "map")


def stack(configs: Sequence[Config]) -> Config:
    """Some configurations as one, whose leaves are ``[lanes]``.

    Raises:
      ValueError: they differ in a static setting.
    """
    first, *others = {jax.tree.structure(config): config for config in configs}.values()
    if others:
        raise ValueError(
            f"lanes of one program must agree in what is static: {first}, {others[0]}."
        )
    return jax.tree.map(lambda *a: jnp.stack(a), *(c.traced() for c in configs))


def take(state: TrainState, lanes: np.ndarray) -> TrainState:
    """The state of some of the lanes."""
    return TrainState(state.step, *jax.tree.map(lambda a: a[lanes], state[1:]))


@jax.jit
def initialize_lanes(config: Config, data: Data) -> TrainState:
    """The states before the first step; arguments as for :func:`run_chunk_of_lanes`."""
    # Looped in any case: the same initial weights as a run alone, bit for bit.
    states = jax.lax.map(lambda c: initialize(c, data), config)
    return states._replace(step=states.step[0])


@compiled(static_argnames=("length", "way", "mesh"), donate_argnames="state")
def run_chunk_of_lanes(
    config: Config,
    length: int,
    data: Data,
    state: TrainState,
    *,
    way: str,
    mesh: jax.sharding.Mesh | None = None,
) -> tuple[TrainState, StepLog]:
    """``length`` training steps of every lane.

    Args:
      config: from :func:`stack`.
      length: number of steps, static.
      data: ``task.load()`` on the device, shared by the lanes.
      state: states before the first of these steps; donated.
      way: "vmap" or "map".
      mesh: devices to divide the lanes among, as many to each; None for one device.

    Returns:
      The new states, and what each step told, ``[lanes, length]`` in front.
    """

    def advance(config: Config, state: TrainState, data: Data) -> Any:
        state, log = run_chunk(config, length, data, state)
        return state[1:], log

    rest, log = _on_every_lane(advance, config, state, data, way, mesh)
    return TrainState(state.step + length, *rest), log


@compiled(static_argnames=("way", "mesh"))
def evaluate_lanes(
    config: Config,
    data: Data,
    state: TrainState,
    due: tuple[jax.Array, ...],
    *,
    way: str,
    mesh: jax.sharding.Mesh | None = None,
) -> Evaluation:
    """The metrics of :func:`experiments.engine.evaluate.evaluate`, each ``[lanes]``."""

    def measure(config: Config, state: TrainState, shared: Any) -> Any:
        data, due = shared
        return evaluate(config, data, state, due)

    return _on_every_lane(measure, config, state, (data, due), way, mesh)


def _on_every_lane(
    function: Callable[[Config, TrainState, Any], Any],
    config: Config,
    state: TrainState,
    shared: Any,
    way: str,
    mesh: jax.sharding.Mesh | None,
) -> Any:
    """Apply to every lane; each device to its own, if there are several.

    The step is shared by all lanes, so that branches on it stay branches under vmap.
    """

    def on_own(config: Config, step: jax.Array, rest: Any, shared: Any) -> Any:
        def one(config: Config, rest: Any) -> Any:
            return function(config, TrainState(step, *rest), shared)

        if way == "vmap":
            return jax.vmap(one)(config, rest)
        return jax.lax.map(lambda lane: one(*lane), (config, rest))

    if mesh is not None:
        lanes, everywhere = jax.P(mesh.axis_names[0]), jax.P()
        on_own = jax.shard_map(
            on_own,
            mesh=mesh,
            in_specs=(lanes, everywhere, lanes, everywhere),
            out_specs=lanes,
            check_vma=False,  # the step's random bits and branches carry no such types
        )
    return on_own(config, state.step, tuple(state[1:]), shared)
