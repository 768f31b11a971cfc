"""The ways to train the lanes of a sweep, per task: a lane's step beside one alone."""

import concurrent.futures
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import jax

from benchmarks import timing
from experiments.engine.programs import Alone, Program, Together
from experiments.host.sweep import cores
from experiments.settings.config import Config
from experiments.tasks import TASKS

LANES = 8
CASES = {
    "modular, no filter": ("modular", {}, 20),
    "modular, MA w = 100": ("modular", {"filter": "ma"}, 20),
    "mnist, no filter": ("mnist", {}, 100),
    "qm9, no filter": ("qm9", {}, 400),
}
"""Task, settings, and steps of a chunk."""


def main(rounds: int) -> None:
    """Time a lane's step for every case and way, beside that of a run alone."""
    rows = []
    for name, (task, settings, steps) in CASES.items():
        configs = [
            Config.of(TASKS[task](), seed=seed, **settings) for seed in range(LANES)
        ]
        data = configs[0].task.load()
        cases = {
            "alone": advancing([Alone(configs[0], data)], steps),
            "placed": advancing([Alone(config, data) for config in configs], steps),
            "vmap": advancing([Together(configs, data, "vmap")], steps),
            "map": advancing([Together(configs, data, "map")], steps),
        }
        times = timing.in_turn(cases, rounds)
        for case, seconds in times.items():
            lanes = 1 if case == "alone" else LANES
            per_lane = [s / lanes for s in seconds]
            cell = f"{1e3 * statistics.median(per_lane) / steps:.3f}"
            rows.append([name, case, cell, timing.ratio(per_lane, times["alone"])])
    timing.report(
        "ways",
        f"{LANES} lanes, {cores()} cores, {rounds} rounds",
        ("task", "way", "ms a step of a lane", "÷ alone"),
        rows,
    )


def advancing(programs: Sequence[Program], steps: int) -> Callable[[], None]:
    """A function that advances all programs, as many at once as there are cores."""
    states: list[Any] = [program.initialize(program.slots()) for program in programs]
    pool = concurrent.futures.ThreadPoolExecutor(cores())

    def advance(index: int) -> None:
        program = programs[index]
        states[index], log = program.advance(program.slots(), steps, states[index])
        jax.block_until_ready(log)

    return lambda: list(pool.map(advance, range(len(programs))))  # type: ignore[return-value]
