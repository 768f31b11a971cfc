"""The training step of a small GPT, against a plain PyTorch twin."""

import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks import timing
from benchmarks.training_step import evaluation, steps
from experiments.methods.named import settings_of
from experiments.tasks.gpt import GptTask

STEPS = 20
_TWIN = "PyTorch"


def main(rounds: int) -> None:
    """Time the steps of nanoGPT's CPU setting and of the twin in turn.

    Processor time too: where other work has the cores, threads of PyTorch's that wait
    for each other take many times the time, and those of a process on one core do not.
    """
    config = settings_of(GptTask()).config
    cases: dict[str, Callable[[], Any]] = {
        "step": steps(config, count=STEPS),
        "step, EMA": steps(settings_of(GptTask(), filter="ema").config, count=STEPS),
        **_twins(config.task, config.training.batch_size),
        "evaluation": evaluation(config),
        "product": timing.large_product("float32"),
    }
    wall = timing.in_turn(cases, rounds)
    processor = timing.in_turn(cases, rounds, time.process_time)
    timing.report(
        "gpt",
        "Training step of a GPT (4 layers, 4 heads, width 128, block 64, batch 12), "
        f"evaluation of 3,484 windows, {rounds} rounds of {STEPS} steps",
        (
            "case",
            "median ms",
            "range",
            f"÷ {_TWIN}",
            "processor ms",
            f"÷ {_TWIN}, one thread",
        ),
        list(_rows(wall, processor)),
    )
    _print_floor(processor)


def _rows(
    wall: dict[str, list[float]], processor: dict[str, list[float]]
) -> Iterator[list[str]]:
    for name in wall:
        if name == "product":
            continue
        per = 1 if name == "evaluation" else STEPS
        row = [name, *timing.milliseconds(wall[name], per)]
        is_ours = name.startswith("step") and _TWIN in wall
        row.append(timing.ratio(wall[name], wall[_TWIN]) if is_ours else "")
        row.append(timing.milliseconds(processor[name], per)[0])
        twin = processor.get(f"{_TWIN}, one thread", [])
        row.append(timing.ratio(processor[name], twin) if is_ours else "")
        yield row


def _print_floor(processor: dict[str, list[float]]) -> None:
    """The step beside its products alone, at the speed of a large one."""
    weights = 4 * 12 * 128**2 + 65 * 128
    attention = 4 * 2 * 128 * 64  # scores and means, the masked half too
    operations = 6 * 12 * 64 * (weights + attention)
    share = operations / (2 * timing.PRODUCT_SIZE**3)
    floors = [seconds * share for seconds in processor["product"]]
    each = [seconds / STEPS for seconds in processor["step"]]
    median, ratio = timing.milliseconds(floors)[0], timing.ratio(each, floors)
    print(
        f"floor: {operations / 1e9:.2f} GFLOP a step, {median} ms of processor time; "
        f"step ÷ floor {ratio}"
    )


def _twins(task: GptTask, batch: int) -> dict[str, Callable[[], Any]]:
    """As many steps of the PyTorch twin; none without PyTorch."""
    try:
        import torch

        from benchmarks import torch_gpt
    except ModuleNotFoundError:
        print("PyTorch is not installed: no comparison with it.")
        return {}
    tokens = task.load()["tokens"]
    train = torch_gpt.make_steps(task.size, tokens[: 9 * len(tokens) // 10], batch)
    threads = torch.get_num_threads()

    def with_threads(count: int) -> Callable[[], Any]:
        def run() -> None:
            torch.set_num_threads(count)
            train(STEPS)

        return run

    return {
        _TWIN: with_threads(threads),
        f"{_TWIN}, one thread": with_threads(1),
    }
