"""The ways to train the lanes of a sweep, per task: a lane's step beside one alone."""

import concurrent.futures
import statistics
from collections.abc import Callable, Sequence

from benchmarks import timing
from benchmarks.training_step import advancing
from experiments.engine.programs import BatchOfLanes, Program, SingleRun
from experiments.host.groups import cores
from experiments.methods.named import settings_of
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
            settings_of(TASKS[task](), seed=seed, **settings).config
            for seed in range(LANES)
        ]
        data = configs[0].task.load()
        cases = {
            "alone": side_by_side([SingleRun(configs[0], data)], steps),
            "placed": side_by_side([SingleRun(c, data) for c in configs], steps),
            "vmap": side_by_side([BatchOfLanes(configs, data, "vmap")], steps),
            "map": side_by_side([BatchOfLanes(configs, data, "map")], steps),
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


def side_by_side(programs: Sequence[Program], steps: int) -> Callable[[], None]:
    """A function that advances all programs, as many at once as there are cores."""
    runs = [advancing(program, steps) for program in programs]
    pool = concurrent.futures.ThreadPoolExecutor(cores())

    def run() -> None:
        for done in [pool.submit(each) for each in runs]:
            done.result()

    return run
