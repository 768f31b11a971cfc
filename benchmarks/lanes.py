"""Many seeds as one program: steps a second of 1, 2, 4, … lanes, MA with w = 100.

Meant for accelerators, where one lane leaves most of the device idle.
"""

import statistics

import jax

from benchmarks import timing
from benchmarks.training_step import STEPS, advancing
from experiments.engine.programs import BatchOfLanes
from experiments.methods.named import settings_of
from experiments.tasks.modular import ModularTask


def main(rounds: int, precision: str = "float32", most: int = 256) -> None:
    """Double the lanes until ``most``, or until the memory is full."""
    task, data = ModularTask(), ModularTask().load()
    common = {"filter": "ma", "matmul_precision": precision}
    rows: list[list[str | int]] = []
    lanes = 1
    while lanes <= most:
        try:
            configs = [settings_of(task, seed=i, **common).config for i in range(lanes)]
            run = advancing(BatchOfLanes(configs, data), STEPS)
            times = timing.in_turn({"lanes": run}, rounds)["lanes"]
        except jax.errors.JaxRuntimeError as error:
            rows.append([lanes, str(error).splitlines()[0][:60], "", ""])
            break
        per_second = lanes * STEPS / statistics.median(times)
        rows.append([lanes, *timing.milliseconds(times, STEPS), f"{per_second:.0f}"])
        lanes *= 2
    timing.report(
        "lanes" if precision == "float32" else f"lanes, {precision}",
        f"Lanes in one program, MA with w = 100, {precision} products",
        ("lanes", "ms a step of all", "range", "lanes × steps a second"),
        rows,
    )
