"""What a unit of work costs as runs grow: lanes, width, window, steps.

Every point is measured in a process of its own, which tells its peak memory. The slope
of log cost against log size is 1 where the cost is proportional, 0 where it does not
depend on the size.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import timing
from benchmarks.training_step import STEPS, steps
from experiments.host.groups import lanes_of
from experiments.host.sweep import How, train_sweep
from experiments.methods.named import settings_of
from experiments.records.sweep import SweepDirectory
from experiments.screen.progress import SweepProgress
from experiments.tasks import TASKS
from experiments.tasks.modular import ModularTask

_LANE_STEPS = 1000  # of QM9
AXES: dict[str, tuple[str, tuple[int, ...]]] = {
    "lanes": ("placed QM9 lanes of 1,000 steps, recorded", (1, 2, 4, 8, 16, 32, 64)),
    "lanes, vmap": ("the same as one program", (1, 2, 4, 8, 16, 32, 64)),
    "width": ("x·y mod 97, a step", (128, 256, 512, 1024)),
    "window": ("x·y mod 97 with MA, a step", (1, 10, 100, 1000)),
    "steps": ("QM9, all steps", (1000, 4000, 16_000, 64_000)),
}


def main(rounds: int) -> None:
    """Measure every point of every axis, and report slopes."""
    rows = []
    for axis, (what, sizes) in AXES.items():
        measured = [_in_a_process(axis, size, rounds) for size in sizes]
        seconds = [m["seconds"] for m in measured]
        memory = [m["mib"] for m in measured]
        for size, m in zip(sizes, measured, strict=True):
            rows.append([axis, f"{size:,}", f"{m['seconds']:.4g}", f"{m['mib']:,.0f}"])
        slopes = [f"**slope {slope(sizes, costs):.2f}**" for costs in (seconds, memory)]
        rows.append([f"*{what}*", "", *slopes])
    timing.report(
        "scaling",
        f"Cost against size, medians of {rounds}",
        ("axis", "size", "seconds", "peak memory of the process, MiB"),
        rows,
    )


def slope(sizes: Any, costs: Any) -> float:
    """Least-squares slope of log cost against log size.

    Example:
      >>> round(slope([1, 10, 100], [3, 30, 300]), 6)
      1.0
    """
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def _in_a_process(axis: str, size: int, rounds: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.scaling", axis, str(size), str(rounds)]
    printed = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, encoding="utf-8"
    )
    return json.loads(printed.stdout.splitlines()[-1])


def measure(axis: str, size: int, rounds: int) -> float:
    """Median seconds of one point."""
    if axis in ("lanes", "lanes, vmap"):
        return _lanes(size, "vmap" if axis.endswith("vmap") else "placed", rounds)
    if axis == "width":
        run, per = steps(settings_of(ModularTask(width=size)).config), STEPS
    elif axis == "window":
        settings = settings_of(ModularTask(), filter="ma", window_size=size)
        run, per = steps(settings.config), STEPS
    else:
        run, per = steps(settings_of(TASKS["qm9"]()).config, count=size), 1
    times = timing.in_turn({"point": run}, rounds)["point"]
    return float(np.median(times)) / per


def _lanes(lanes: int, way: str, rounds: int) -> float:
    task = TASKS["qm9"]()
    times = []
    with tempfile.TemporaryDirectory() as directory:
        for round_ in range(rounds + 1):  # the first one compiles
            first = round_ * lanes
            runs = [
                settings_of(task, seed=seed, steps=_LANE_STEPS)
                for seed in range(first, first + lanes)
            ]
            root = Path(directory) / str(round_)
            of_sweep = lanes_of(root, runs)
            names = [lane.run.path.name for lane in of_sweep]
            how = How(SweepProgress(dict.fromkeys(names, _LANE_STEPS)))
            start = time.perf_counter()
            train_sweep(SweepDirectory(root), of_sweep, how, way=way, command="")
            times.append(time.perf_counter() - start)
    return float(np.median(times[1:]))


if __name__ == "__main__":
    _axis, _size, _rounds = sys.argv[1:]
    _seconds = measure(_axis, int(_size), int(_rounds))
    _kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"seconds": _seconds, "mib": _kib / 1024}))
