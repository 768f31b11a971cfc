"""What an evaluation's measures and a checkpoint cost, for MA with w = 100."""

import statistics
import tempfile
import time
from pathlib import Path

import jax
import optax

from benchmarks import timing
from experiments.engine.train import initialize
from experiments.methods.measures import weight_norms
from experiments.methods.named import settings_of
from experiments.methods.observe import observe
from experiments.records.checkpoint import Checkpoints
from experiments.tasks.modular import ModularTask


def main(rounds: int) -> None:
    """Time the measures, and the checkpoints with their background writer."""
    config = settings_of(ModularTask(), filter="ma").config
    state = initialize(config.traced(), config.task.load())
    tx = observe(optax.identity())
    observed = tx.init(state.params)
    measure = jax.jit(lambda g, s: (weight_norms(g), tx.update(g, s)[1]))
    times = timing.in_turn(
        {
            "norms and filter's share, per evaluation": lambda: jax.block_until_ready(
                measure(state.params, observed)
            )
        },
        rounds,
    )
    blocking, whole, cpu = [], [], []
    with tempfile.TemporaryDirectory() as directory:
        checkpoints = Checkpoints(Path(directory) / "checkpoints")
        for step in range(rounds):
            cpu_start, start = time.process_time(), time.perf_counter()
            checkpoints.save(step, (0,), state)
            blocking.append(time.perf_counter() - start)
            checkpoints.wait()
            whole.append(time.perf_counter() - start)
            cpu.append(time.process_time() - cpu_start)
        checkpoints.close()
    times |= {
        "checkpoint: training waits": blocking,
        "checkpoint: until written": whole,
        "checkpoint: processor time": cpu,
    }
    # A checkpoint a minute; an evaluation after at least 20 steps of 20 ms.
    period = {name: 60.0 if "checkpoint" in name else 0.4 for name in times}
    size = sum(a.nbytes for a in jax.tree.leaves(state)) / 2**20
    timing.report(
        "recording",
        f"Recording, MA with w = 100, a state of {size:.0f} MiB",
        ("case", "median ms", "range", "of the run time"),
        [
            [
                name,
                *timing.milliseconds(values),
                f"{statistics.median(values) / period[name]:.2%}",
            ]
            for name, values in times.items()
        ],
    )
