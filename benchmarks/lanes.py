"""Many seeds as one program: steps a second of 1, 2, 4, … lanes, MA with w = 100.

Meant for accelerators, where one lane leaves most of the device idle.
"""

import statistics

import jax

from benchmarks import timing
from benchmarks.training_step import STEPS, steps
from experiments.settings.config import Config, FilterOptions, TrainingOptions
from experiments.tasks.modular import ModularTask


def main(rounds: int, precision: str = "float32", most: int = 256) -> None:
    """Double the lanes until ``most``, or until the memory is full."""
    training = TrainingOptions(matmul_precision=precision)
    config = Config(ModularTask(), FilterOptions(filter="ma"), training=training)
    rows: list[list[str | int]] = []
    lanes = 1
    while lanes <= most:
        try:
            times = timing.in_turn({"lanes": steps(config, lanes)}, rounds)["lanes"]
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
