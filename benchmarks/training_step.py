"""The training step of x·y mod 97, batch 512, against a plain PyTorch twin."""

from collections.abc import Callable
from typing import Any

import jax

from benchmarks import timing
from experiments.config import Config, FilterOptions, TrainingOptions
from experiments.tasks.modular import ModularTask
from experiments.train import TrainState, evaluate, initialize, run_chunk

STEPS = 20  # two epochs: 18 batches of 512 and two of 48
CASES = {
    "none": FilterOptions(),
    "EMA": FilterOptions(filter="ema"),
    "MA, w = 100": FilterOptions(filter="ma"),
    "MA, w = 1000": FilterOptions(filter="ma", window_size=1000),
}
TWINS = {"none": "none", "EMA": "ema", "MA, w = 100": "ma"}


def main(rounds: int, precision: str = "float32") -> None:
    """Time the steps, the evaluation and PyTorch's steps in turn."""
    training = TrainingOptions(matmul_precision=precision)
    configs = {
        name: Config(ModularTask(), options, training=training)
        for name, options in CASES.items()
    }
    cases: dict[str, Callable[[], Any]] = {
        name: steps(config) for name, config in configs.items()
    }
    cases |= {f"PyTorch, {name}": twin for name, twin in _twins().items()}
    cases["evaluation of 9312 equations"] = _evaluation(configs["none"])
    times = timing.in_turn(cases, rounds)

    rows = []
    for name, values in times.items():
        per = 1 if name.startswith("evaluation") else STEPS
        row = [name, *timing.milliseconds(values, per)]
        is_ours = name in CASES
        row.append(
            f"{timing.median_ratio(values, times['none']):.2f}" if is_ours else ""
        )
        twin = times.get(f"PyTorch, {name}")
        row.append(f"{timing.median_ratio(values, twin):.2f}" if twin else "")
        rows.append(row)
    timing.report(
        "training step" if precision == "float32" else f"training step, {precision}",
        f"Training step, x·y mod 97, batch 512, {precision} products",
        ("case", "median ms", "range", "ratio to none", "ratio to PyTorch"),
        rows,
    )
    _report_floor(times["none"])


def steps(config: Config, lanes: int = 0) -> Callable[[], None]:
    """A function that does ``STEPS`` steps, of ``lanes`` seeds at once if given."""
    static, hyper = config.static(), config.traced()
    data = jax.device_put(config.task.load())

    def start(hyper: dict[str, Any]) -> TrainState:
        return initialize(static, hyper)

    def advance(hyper: dict[str, Any], state: TrainState) -> tuple[TrainState, Any]:
        return run_chunk(static, STEPS, hyper, data, state)

    if lanes:
        hyper = hyper | {"seed": jax.numpy.arange(lanes)}
        seeds = dict.fromkeys(hyper) | {"seed": 0}
        shared_step = TrainState(None, 0, 0, 0)
        start = jax.vmap(start, in_axes=(seeds,), out_axes=shared_step)
        advance = jax.vmap(
            advance, in_axes=(seeds, shared_step), out_axes=(shared_step, 0)
        )
    advance = jax.jit(advance, donate_argnums=1)
    box = [jax.jit(start)(hyper)]

    def run() -> None:
        box[0], losses = advance(hyper, box[0])
        jax.block_until_ready(losses)

    return run


def _evaluation(config: Config) -> Callable[[], Any]:
    static, hyper = config.static(), config.traced()
    data = jax.device_put(config.task.load())
    state = initialize(static, hyper)
    return lambda: jax.block_until_ready(evaluate(static, hyper, data, state))


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


def _report_floor(times: list[float]) -> None:
    peak = timing.matmul_flops_per_second()
    rows = []
    for label, shared in (("each equation apart", False), ("prefixes shared", True)):
        epoch = 9 * matmul_flops(512, 97, 128, shared=shared)
        flops = (epoch + matmul_flops(48, 97, 128, shared=False)) / 10
        floor = flops / peak
        above = timing.median_ratio(times, [STEPS * floor] * len(times))
        rows.append([label, f"{flops / 1e9:.2f}", f"{floor * 1e3:.1f}", f"{above:.2f}"])
    timing.report(
        "floor",
        f"Floor of the mean step of an epoch, at {peak / 1e9:.0f} GFLOP/s",
        ("products", "GFLOP", "floor ms", "step ÷ floor"),
        rows,
    )
