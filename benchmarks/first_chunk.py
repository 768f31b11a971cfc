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
from experiments.config import Config, FilterOptions
from experiments.tasks.modular import ModularTask
from experiments.train import evaluate, initialize, run_chunk
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
    """Compile in a new process without a cache, then with what the first one left."""
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {
            "JAX_COMPILATION_CACHE_DIR": cache,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
        }
        for case in ("cold", *(f"cached, {i}" for i in range(1, min(rounds, 3) + 1))):
            output = subprocess.run(
                [sys.executable, "-c", _PROGRAM],
                env=environment,
                check=True,
                capture_output=True,
                text=True,
            ).stdout
            rows.append([case, *(f"{float(s):.1f}" for s in output.split())])
    timing.report(
        "first chunk",
        "First state, evaluation and chunk of 20 steps, EMA, in a new process",
        ("case", "imports s", "start to first chunk s"),
        rows,
    )
