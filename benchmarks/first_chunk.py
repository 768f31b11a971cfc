"""Seconds until the first chunk is done, in new processes: cold, then cached."""

import os
import subprocess
import sys
import tempfile

from benchmarks import timing

_PROGRAM = """
import time
start = time.perf_counter()
import jax
from experiments.engine.programs import SingleRun
from experiments.methods.named import settings_of
from experiments.tasks.modular import ModularTask
config = settings_of(ModularTask(), filter="ema").config
program = SingleRun(config, config.task.load())
slots, due = program.slots(), (True,) * len(program.measures)
imported = time.perf_counter()
state = program.initialize(slots)
program.evaluate(slots, state, due)
state, _ = program.advance(slots, 20, state)
jax.block_until_ready(program.evaluate(slots, state, due))
print(imported - start, time.perf_counter() - imported)
"""


def main(rounds: int) -> None:
    """Compile in new processes: each time without a cache, then with the one left."""
    rows = []
    for i in range(1, min(rounds, 3) + 1):
        with tempfile.TemporaryDirectory() as cache:
            rows += [[f"{case}, {i}", *_run(cache)] for case in ("cold", "cached")]
    timing.report(
        "first chunk",
        "First state, two evaluations and a chunk of 20 steps, EMA, in a new process",
        ("case", "imports s", "start to first chunk s"),
        rows,
    )


def _run(cache: str) -> list[str]:
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
    }
    command = [sys.executable, "-c", _PROGRAM]
    output = subprocess.run(
        command, env=environment, check=True, capture_output=True, encoding="utf-8"
    ).stdout
    return [f"{float(seconds):.1f}" for seconds in output.split()]
