"""Time the filters and the training step: ``make bench``.

All cases are compiled first, then timed in turn, several rounds: the medians are
comparable within one run, even where the machine's speed drifts.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.checkpoint import Checkpoints
from experiments.config import Config, FilterOptions
from experiments.console import print_table
from experiments.observe import observe, weight_norms
from experiments.provenance import device, versions
from experiments.tasks.modular import ModularTask
from experiments.train import initialize, run_chunk
from grokfast_jax import grokfast_ema, grokfast_ma

SIZE = 424_000  # parameters, about those of the transformer


def main() -> None:
    """Time everything and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="timings of each case")
    rounds = parser.parse_args().rounds
    print(f"{device()}, {versions()}")
    copy = statistics.median(_timed(_copy) for _ in range(rounds))
    print(f"np.copyto of {SIZE} float32: {copy * 1e3:.3f} ms")

    filters = _in_turn(
        {
            "ema": _filter_chunk(grokfast_ema()),
            "ma, w = 100": _filter_chunk(grokfast_ma(100)),
            "ma, w = 400": _filter_chunk(grokfast_ma(400)),
            "ma, w = 100, 4 lanes": _filter_chunk(grokfast_ma(100), lanes=4),
        },
        rounds,
    )
    _print(f"Filter alone, {SIZE} float32 parameters, donated scan", filters, "ema")
    steps = _in_turn(
        {
            name: _train_chunk(FilterOptions(filter=name))
            for name in ("none", "ema", "ma")
        },
        rounds,
    )
    _print("Training step, x·y mod 97, batch 512", steps, "none")
    _print_recording(rounds)


def _in_turn(
    cases: dict[str, Callable[[], float]], rounds: int
) -> dict[str, list[float]]:
    """Milliseconds per step of each case, ``rounds`` times, the cases in turn."""
    for case in cases.values():
        case()
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            times[name].append(case() * 1e3)
    return times


def _filter_chunk(tx: Any, lanes: int = 0, steps: int = 50) -> Callable[[], float]:
    """Seconds per update of a filter, in a donated scan."""
    init, update = tx.init, tx.update
    shape = (lanes, SIZE) if lanes else (SIZE,)
    gradient = jax.random.normal(jax.random.key(0), shape)
    if lanes:
        init, update = jax.vmap(init), jax.vmap(update)

    def step(carry, _):
        out, state = update(gradient, carry[0])
        return (state, out), None

    def chunk(carry):
        return jax.lax.scan(step, carry, length=steps)[0]

    compiled = jax.jit(chunk, donate_argnums=0)
    carry = [(init(gradient), jnp.zeros(shape))]

    def run() -> float:
        def once():
            carry[0] = jax.block_until_ready(compiled(carry[0]))

        return _timed(once) / steps

    return run


def _train_chunk(options: FilterOptions, steps: int = 20) -> Callable[[], float]:
    """Seconds per training step, evaluation included as ``train`` does it."""
    config = Config(ModularTask(), options)
    static, hyper = config.static(), config.traced()
    data = jax.device_put(config.task.load())
    state = [initialize(static, hyper, data)[0]]

    def run() -> float:
        def once():
            new_state, *_ = run_chunk(static, steps, hyper, data, state[0])
            state[0] = jax.block_until_ready(new_state)

        return _timed(once) / steps

    return run


def _print_recording(rounds: int) -> None:
    """What an evaluation's measures and a checkpoint cost, for MA with w = 100."""
    config = Config(ModularTask(), FilterOptions(filter="ma"))
    static, hyper = config.static(), config.traced()
    data = jax.device_put(config.task.load())
    state, _ = initialize(static, hyper, data)
    tx = observe(optax.identity())
    observed = tx.init(state.params)
    measure = jax.jit(lambda g, s: (weight_norms(g), tx.update(g, s)[1]))
    jax.block_until_ready(measure(state.params, observed))
    measures = [
        _timed(lambda: jax.block_until_ready(measure(state.params, observed)))
        for _ in range(rounds)
    ]
    blocking, whole, cpu = [], [], []
    with tempfile.TemporaryDirectory() as directory:
        checkpoints = Checkpoints(Path(directory) / "checkpoints")
        for step in range(rounds):
            cpu_start, start = time.process_time(), time.perf_counter()
            checkpoints.save(step, state)
            blocking.append(time.perf_counter() - start)
            checkpoints.wait()
            whole.append(time.perf_counter() - start)
            cpu.append(time.process_time() - cpu_start)
        checkpoints.close()
    size = sum(a.nbytes for a in jax.tree.leaves(state)) / 2**20
    print_table(
        f"Recording: Grokfast-MA, w = 100, a state of {size:.0f} MiB",
        ("case", "median ms"),
        [
            [name, f"{statistics.median(values) * 1e3:.1f}"]
            for name, values in (
                ("norms and filter's share, per evaluation", measures),
                ("checkpoint, training waits", blocking),
                ("checkpoint, until written", whole),
                ("checkpoint, processor time", cpu),
            )
        ],
    )


def _copy() -> None:
    np.copyto(_TARGET, _SOURCE)


_SOURCE, _TARGET = np.ones(SIZE, np.float32), np.zeros(SIZE, np.float32)


def _timed(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _print(title: str, times: dict[str, list[float]], base: str) -> None:
    rows = []
    for name, values in times.items():
        ratio = statistics.median(
            value / other for value, other in zip(values, times[base], strict=True)
        )
        median = f"{statistics.median(values):.3f}"
        spread = f"{min(values):.3f} – {max(values):.3f}"
        rows.append([name, median, spread, f"{ratio:.2f}"])
    print_table(title, ("case", "ms per step", "range", f"ratio to {base}"), rows)


if __name__ == "__main__":
    main()
