"""Lanes of one program: batched, looped, or divided among the cores, per task.

``JAX_NUM_CPU_DEVICES=2 python -m benchmarks.ways``: a device for each of two cores.
"""

import statistics
from collections.abc import Callable

import jax

from benchmarks import timing
from experiments.config import Config
from experiments.lanes import WAYS, initialize_lanes, run_chunk_of_lanes, stack
from experiments.tasks import TASKS
from experiments.train import TrainState, initialize, run_chunk

LANES = 4
STEPS = {"modular": 20, "mnist": 100, "qm9": 400}


def main(rounds: int = 5) -> None:
    """Time a lane's step for every task and way, beside that of a run alone."""
    rows = []
    for name, steps in STEPS.items():
        configs = [Config.of(TASKS[name](), seed=seed) for seed in range(LANES)]
        cases = {"alone": _alone(configs[0], steps)}
        for way in WAYS:
            cases[way] = _lanes(configs, steps, way)
            if jax.device_count() > 1:
                cases[f"{way}, divided"] = _lanes(configs, steps, way, _mesh())
        times = timing.in_turn(cases, rounds)
        for case in cases:
            lanes = 1 if case == "alone" else LANES
            per_lane = [seconds / lanes for seconds in times[case]]
            cell = f"{1e3 * statistics.median(per_lane) / steps:.3f}"
            rows.append([name, case, cell, timing.ratio(per_lane, times["alone"])])
    timing.report(
        "ways",
        f"{LANES} lanes in one program, {jax.device_count()} devices, {rounds} rounds",
        ("task", "way", "ms a step of a lane", "÷ alone"),
        rows,
    )


def _mesh() -> jax.sharding.Mesh:
    axis = (jax.sharding.AxisType.Auto,)
    return jax.make_mesh((jax.device_count(),), ("lanes",), axis_types=axis)


def _alone(config: Config, steps: int) -> Callable[[], None]:
    static, hyper = config.static(), config.traced()
    data, state = jax.device_put(config.task.load()), initialize(static, hyper)

    def run() -> None:
        nonlocal state
        state, log = run_chunk(static, steps, hyper, data, state)
        jax.block_until_ready(log)

    return run


def _lanes(
    configs: list[Config], steps: int, way: str, mesh: jax.sharding.Mesh | None = None
) -> Callable[[], None]:
    static, hyper = stack(configs)
    data, state = configs[0].task.load(), initialize_lanes(static, hyper)
    if mesh is not None:
        everywhere = jax.sharding.NamedSharding(mesh, jax.P())
        divided = jax.sharding.NamedSharding(mesh, jax.P("lanes"))
        data, step = jax.device_put((data, state.step), everywhere)
        hyper, rest = jax.device_put((hyper, tuple(state[1:])), divided)
        state = TrainState(step, *rest)
    else:
        data = jax.device_put(data)

    def run() -> None:
        nonlocal state
        state, log = run_chunk_of_lanes(
            static, steps, hyper, data, state, way=way, mesh=mesh
        )
        jax.block_until_ready(log)

    return run


if __name__ == "__main__":
    main()
