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
from experiments.settings.config import Config, FilterOptions
from experiments.tasks.modular import ModularTask
from experiments.engine.train import evaluate, initialize, run_chunk
config = Config(ModularTask(), FilterOptions(filter="ema"))
static, hyper = config.static(), config.traced()
data = jax.device_put(config.task.load())
imported = time.perf_counter()
state = initialize(static, hyper)
evaluate(static, hyper, data, state)
state, _ = run_chunk(static, 20, hyper, data, state)
jax.block_until_ready(evaluate(static, hyper, data, state))
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
        command, env=environment, check=True, capture_output=True, text=True
    ).stdout
    return [f"{float(seconds):.1f}" for seconds in output.split()]
