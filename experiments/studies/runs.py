"""Train configurations as a sweep, and take their records."""

from collections.abc import Sequence
from pathlib import Path

from experiments.host.sweep import default_way, lanes_of, train_sweep
from experiments.records.run import INTERRUPTED, RunDirectory
from experiments.results.table import SweepDirectory
from experiments.screen.progress import sweep_progress
from experiments.settings.config import Config


def train(root: Path, configs: Sequence[Config]) -> list[RunDirectory]:
    """The records of all configurations; ``show`` knows ``root`` as a sweep.

    What is finished there is not trained again. A run that diverged is a result too.

    Raises:
      SystemExit: interrupted; called again, it goes on.
    """
    lanes = lanes_of(root, configs)
    SweepDirectory(root).write_plan(lanes, "python -m experiments.studies.reproduction")
    print(f"{root}: {len(lanes)} runs", flush=True)
    budgets = {
        lane.path.name: config.training.steps
        for lane, config in zip(lanes, configs, strict=True)
    }
    with sweep_progress(len(lanes), budgets) as progress:
        train_sweep(root, configs, way=default_way(), progress=progress)
    if any(_is_unfinished(lane) for lane in lanes):
        print("Interrupted: the same command goes on.")
        raise SystemExit(130)
    return lanes


def _is_unfinished(lane: RunDirectory) -> bool:
    return not lane.summary_file.exists() or lane.summary()["status"] == INTERRUPTED
