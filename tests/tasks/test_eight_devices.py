"""Sweeps of the tasks of images and words, spread over eight devices."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments.host.groups import lanes_of
from experiments.methods.named import settings_of
from experiments.records.run import RunDirectory
from experiments.studies.runs import train_lanes, train_run
from tests.support.random_images import SMALL as IMAGES
from tests.tasks.test_gpt import SMALL as PLAY
from tests.tasks.test_imdb import ONE_LAYER as REVIEWS

TASKS = {"cifar": IMAGES, "imdb": REVIEWS, "gpt": PLAY}


def settings(name):
    """Of four seeds, with and without filter."""
    short = {"steps": 4, "eval_every": 2, "batch_size": 4, "warmup_steps": 0}
    return [
        settings_of(TASKS[name], filter=kind, seed=seed, **short)
        for kind in ("none", "ema")
        for seed in range(4)
    ]


def sweep(root, name):
    train_lanes(root / name, settings(name), way="vmap", silent=True)


SWEEPS = """
import sys
from pathlib import Path
import jax
from tests.tasks.test_eight_devices import TASKS, sweep
assert jax.device_count() == 8
for name in TASKS:
    sweep(Path(sys.argv[1]), name)
"""


@pytest.mark.slow
def test_lanes_on_eight_devices_are_the_runs_alone(tmp_path):
    flags = f"{os.environ.get('XLA_FLAGS', '')} "
    done = subprocess.run(
        [sys.executable, "-c", SWEEPS, str(tmp_path)],
        env=os.environ
        | {"XLA_FLAGS": f"{flags}--xla_force_host_platform_device_count=8"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name in TASKS:
        lane = lanes_of(tmp_path / name, settings(name))[-1]
        alone = RunDirectory(tmp_path / f"{name}-alone")
        train_run(lane.settings, alone, silent=True)
        rows, expected = lane.run.metrics(), alone.metrics()
        for column in ("train_loss", "validation_loss"):
            np.testing.assert_allclose(rows[column], expected[column], rtol=1e-3)
