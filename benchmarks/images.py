"""The training step of CIFAR's ResNet-18, batch 128, against a plain PyTorch twin."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from benchmarks import timing
from benchmarks.training_step import steps
from experiments.methods.named import settings_of
from experiments.tasks.cifar import CifarTask

STEPS = {16: 40, 64: 10}
"""Of a round, by the width: many, as a call of the program makes room for 3 GB."""
_TWIN, _ONE_THREAD = "PyTorch", "PyTorch, one thread"
_PRODUCT = "product"

Times = dict[str, np.ndarray]


def main(rounds: int, widths: Sequence[int] = tuple(STEPS)) -> None:
    """Time the steps of every width and those of the twin in turn.

    Crops and flips are left out, which the twin has not; BatchNorm is of the whole
    batch. Processor time too: other work on the machine takes none of it.
    """
    tasks = {
        width: CifarTask(
            width=width, augment="none", train_points=1280, validation_points=128
        )
        for width in widths
    }
    cases: dict[str, Callable[[], Any]] = {}
    for width, task in tasks.items():
        config = settings_of(task).config
        cases[f"width {width}"] = steps(config, count=STEPS[width])
        for name, twin in _twins(task, config.training.batch_size).items():
            cases[f"width {width}, {name}"] = twin
    cases[_PRODUCT] = timing.large_product("float32")
    both = timing.in_turn(cases, rounds, _wall_and_processor)
    wall, processor = ({n: np.array(t)[:, i] for n, t in both.items()} for i in (0, 1))
    operations = {width: _operations(task) for width, task in tasks.items()}
    timing.report(
        "cifar",
        f"Training step of ResNet-18 on CIFAR-10, batch 128, {rounds} rounds; "
        + ", ".join(f"width {w}: {o / 1e9:,.0f} GFLOP" for w, o in operations.items()),
        (
            "case",
            "median ms",
            "range",
            f"÷ {_TWIN}",
            "GFLOP/s",
            "processor ms",
            f"÷ {_ONE_THREAD}",
            "GFLOP/s of processor time",
        ),
        list(_rows(wall, processor, operations)),
    )


def _wall_and_processor() -> Any:
    return np.array([time.perf_counter(), time.process_time()])


def _rows(
    wall: Times, processor: Times, operations: dict[int, float]
) -> Iterator[list[str]]:
    for width, flop in operations.items():
        own = f"width {width}"
        for name in wall:
            if name != own and not name.startswith(f"{own},"):
                continue
            row = [name]
            for times, twin in ((wall, _TWIN), (processor, _ONE_THREAD)):
                cells = timing.milliseconds(times[name], STEPS[width])
                row += cells if times is wall else cells[:1]
                compared = times.get(f"{own}, {twin}")
                is_own = name == own and compared is not None
                row.append(timing.ratio(times[name], compared) if is_own else "")
                row.append(_rate(flop * STEPS[width], times[name]))
            yield row
    large = 2.0 * timing.PRODUCT_SIZE**3
    times = wall[_PRODUCT], processor[_PRODUCT]
    (median, spread), (own_time, _) = (timing.milliseconds(t) for t in times)
    size = f"{timing.PRODUCT_SIZE} × {timing.PRODUCT_SIZE}"
    name = f"one product of {size}, the floor's rate"
    rates = [_rate(large, t) for t in times]
    yield [name, median, spread, "", rates[0], own_time, "", rates[1]]


def _rate(operations: float, times: np.ndarray) -> str:
    return f"{operations / np.median(times) / 1e9:.1f}"


def _operations(task: CifarTask) -> float:
    """Floating-point operations of the convolutions of one step.

    Two for a multiplication and an addition; three times as many as the forward pass,
    for the gradients by input and by weight; the stem needs none by input.
    """
    params, _ = jax.eval_shape(lambda key: task.init(key, {}), jax.random.key(0))
    images = settings_of(task).config.training.batch_size
    stem = params["stem"]["conv"]["kernel"].size * 32**2
    total = stem * 2
    for i, block in params["blocks"].items():
        pixels = 32**2 // 4 ** (int(i) // 2)  # two blocks a stage
        kernels = [leaf for leaf in jax.tree.leaves(block) if leaf.ndim == 4]
        total += 3 * pixels * sum(kernel.size for kernel in kernels)
    return 2.0 * images * total


def _twins(task: CifarTask, batch: int) -> dict[str, Callable[[], Any]]:
    """As many steps of the PyTorch twin; none without PyTorch."""
    try:
        import torch

        from benchmarks import torch_images
    except ModuleNotFoundError:
        print("PyTorch is not installed: no comparison with it.")
        return {}
    data = task.load()
    mean, std = (np.array(pixels, np.float32) for pixels in task.pixels)
    images = (data["images"][data["train"]] / np.float32(255) - mean) / std
    labels = data["labels"][data["train"]]
    model = torch_images.ResNet(torch_images.basic, (2, 2, 2, 2), task.width)
    train = torch_images.make_steps(model, images, labels, batch)
    threads = torch.get_num_threads()

    def with_threads(count: int) -> Callable[[], Any]:
        def run() -> None:
            torch.set_num_threads(count)
            train(STEPS[task.width])

        return run

    return {_TWIN: with_threads(threads), _ONE_THREAD: with_threads(1)}
