"""The training steps of MNIST and QM9, against plain PyTorch twins."""

import statistics
from collections.abc import Callable
from typing import Any

import jax

from benchmarks import timing
from benchmarks.training_step import evaluation, steps
from experiments.data.mnist import load_mnist
from experiments.data.qm9 import load_qm9
from experiments.methods.named import settings_of
from experiments.tasks.mnist import MnistTask
from experiments.tasks.qm9 import Qm9Task

STEPS = 100
FILTERS = {"none": {}, "ema": {"alpha": 0.9, "lamb": 1.0}}


def main(rounds: int) -> None:
    """Time a hundred steps of every case and of its twin in turn."""
    cases: dict[str, Callable[[], Any]] = {}
    for task in (MnistTask(), Qm9Task()):
        for name, values in FILTERS.items():
            config = settings_of(task, filter=name, **values).config
            cases[f"{task.name}, {name}"] = steps(config, count=STEPS)
        config = settings_of(task).config
        cases[f"{task.name}, evaluation"] = evaluation(config)
        with jax.enable_x64(True):
            double = steps(settings_of(task, dtype="float64").config, count=STEPS)
        cases[f"{task.name}, none, float64"] = _in_double(double)
    cases |= _twins()
    times = timing.in_turn(cases, rounds)
    rows = []
    for name in cases:
        per = 1 if "evaluation" in name else STEPS
        least = f"{1e3 * min(times[name]) / per:.3f}"
        twin = times.get(f"PyTorch, {name}")
        row = [name, *timing.milliseconds(times[name], per), least]
        rows.append([*row, timing.ratio(twin, times[name]) if twin else ""])
    timing.report(
        "tasks",
        f"Training step and evaluation of MNIST (batch 200) and QM9 (batch 32), "
        f"{rounds} rounds of {STEPS} steps",
        ("case", "median ms", "range", "least ms", "PyTorch ÷ ours"),
        rows,
    )
    for task in ("mnist", "qm9"):
        each = statistics.median(times[f"{task}, none"]) / STEPS
        print(f"{task}: 100,000 steps without evaluations {1e5 * each:.0f} s")


def _in_double(function: Callable[[], Any]) -> Callable[[], Any]:
    def called() -> Any:
        with jax.enable_x64(True):
            return function()

    return called


def _twins() -> dict[str, Callable[[], Any]]:
    """As many steps of the PyTorch twins; none without PyTorch."""
    try:
        from benchmarks import torch_tasks as twin
    except ModuleNotFoundError:
        print("PyTorch is not installed: no comparison with it.")
        return {}
    mnist, qm9 = load_mnist(), load_qm9(50)
    images, labels = mnist["train_images"][:1000], mnist["train_labels"][:1000]
    cases = {}
    for name in FILTERS:
        train = twin.make_epochs(
            twin.mlp(), twin.mnist_loss(images, labels), 1000, 200, 8.0, 0.01, name
        )
        cases[f"PyTorch, mnist, {name}"] = lambda train=train: train(STEPS // 5)
        train = twin.make_epochs(
            twin.EdgeNetwork(), twin.qm9_loss(qm9), 50, 32, 3.0, 0.0, name
        )
        cases[f"PyTorch, qm9, {name}"] = lambda train=train: train(STEPS // 2)
    return cases
