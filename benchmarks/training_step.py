"""The training step of x·y mod 97, batch 512, against a plain PyTorch twin."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from benchmarks import timing
from experiments.engine.programs import Program, SingleRun
from experiments.methods.named import settings_of
from experiments.settings.config import Config
from experiments.settings.options import options
from experiments.settings.task import Examples, Params
from experiments.tasks.modular import ModularTask

STEPS = 20  # two epochs: 18 batches of 512 and two of 48
CASES = {
    "none": "none",
    "EMA": "ema",
    "MA, w = 100": "ma",
    "MA, w = 1000": "ma:window_size=1000",
}
TWINS = {"none": "none", "EMA": "ema", "MA, w = 100": "ma"}


def main(rounds: int, precision: str = "float32") -> None:
    """Time the steps, the evaluation and PyTorch's steps in turn."""
    task, common = ModularTask(), {"matmul_precision": precision}
    configs = {
        name: settings_of(task, filter=filter, **common).config
        for name, filter in CASES.items()
    }
    cases: dict[str, Callable[[], Any]] = {
        name: steps(config) for name, config in configs.items()
    }
    cases |= {f"PyTorch, {name}": twin for name, twin in _twins().items()}
    cases["none, no shared prefixes"] = steps(
        dataclasses.replace(configs["none"], task=Unshared())
    )
    cases["evaluation of 9312 equations"] = evaluation(configs["none"])
    times = timing.in_turn(cases | {"product": timing.large_product(precision)}, rounds)

    rows = []
    for name in cases:
        per = 1 if name.startswith("evaluation") else STEPS
        row = [name, *timing.milliseconds(times[name], per)]
        for base in ("none", "MA, w = 100", f"PyTorch, {name}"):
            compared = base in times and (name in configs or "shared" in name)
            row.append(timing.ratio(times[name], times[base]) if compared else "")
        rows.append(row)
    suffix = "" if precision == "float32" else f", {precision}"
    timing.report(
        f"training step{suffix}",
        f"Training step, x·y mod 97, batch 512, {precision} products, {rounds} rounds "
        "(PyTorch: float32)",
        ("case", "median ms", "range", "÷ none", "÷ MA, w = 100", "÷ PyTorch"),
        rows,
    )
    _report_floor(times, suffix)


@options
class Unshared(ModularTask):
    """The same equations with columns of their own for every position."""

    def predict(self, params: Params, examples: Examples) -> jax.Array:
        """Logits of the answers."""
        return self.apply(params, examples["tokens"])


def steps(config: Config, count: int = STEPS) -> Callable[[], None]:
    """A function that does ``count`` steps of a run."""
    return advancing(SingleRun(config, config.task.load()), count)


def advancing(program: Program, count: int) -> Callable[[], None]:
    """A function that does ``count`` steps of every slot of a program."""
    slots = program.slots()
    box = [program.initialize(slots)]

    def run() -> None:
        box[0], log = program.advance(slots, count, box[0])
        jax.block_until_ready(log)

    return run


def evaluation(config: Config) -> Callable[[], Any]:
    """A function that evaluates a run's first state, with all measures."""
    program = SingleRun(config, config.task.load())
    slots, due = program.slots(), (True,) * len(program.measures)
    state = program.initialize(slots)
    return lambda: jax.block_until_ready(program.evaluate(slots, state, due))


def _twins() -> dict[str, Callable[[], Any]]:
    """Two epochs of the PyTorch twin with each filter; none without PyTorch."""
    try:
        from benchmarks import torch_twin
    except ModuleNotFoundError:
        print("PyTorch is not installed: no comparison with it.")
        return {}
    place = "cuda" if jax.default_backend() == "gpu" else "cpu"
    twins = {}
    for name, filter_name in TWINS.items():
        train = torch_twin.make_epochs(filter_name, place)
        train(10)  # the window is full
        twins[name] = lambda train=train: train(STEPS // 10)
    return twins


def matmul_flops(batch: int, symbols: int, width: int, *, shared: bool) -> int:
    """Floating-point operations of the products of one step, two blocks, four tokens.

    Three products a weight: forward, and the gradients by input and by weight.
    """
    w, b = width * width, batch
    columns = 2 * symbols + 2 * b if shared else 4 * b
    first = 6 * columns * 12 * w
    last = 6 * columns * 2 * w + 6 * b * 10 * w
    head = 6 * b * width * (symbols + 2)
    spread = 2 * 2 * 4 * 2 * width * symbols * b if shared else 0
    return first + last + head + spread


def _report_floor(times: dict[str, list[float]], suffix: str) -> None:
    rows = []
    operations = 2 * timing.PRODUCT_SIZE**3
    for name, shared in (("none", True), ("none, no shared prefixes", False)):
        epoch = 9 * matmul_flops(512, 97, 128, shared=shared)
        flops = (epoch + matmul_flops(48, 97, 128, shared=False)) / 10
        floors = [seconds * flops / operations for seconds in times["product"]]
        per_step = [seconds / STEPS for seconds in times[name]]
        rows.append(
            [
                name,
                f"{flops / 1e9:.2f}",
                *timing.milliseconds(floors),
                timing.ratio(per_step, floors),
            ]
        )
    timing.report(
        f"floor{suffix}",
        "Floor of the mean step of an epoch: its matrix products alone, at the speed "
        f"of one of {timing.PRODUCT_SIZE} × {timing.PRODUCT_SIZE} in the same round",
        ("case", "GFLOP", "floor ms", "range", "step ÷ floor"),
        rows,
    )
