"""Train the runs of a study as a sweep, and take their records."""

import tomllib
from collections.abc import Sequence
from pathlib import Path

from experiments.host.groups import Lane, lanes_of
from experiments.host.sweep import How, default_way, train_sweep
from experiments.methods.named import every_setting
from experiments.records.status import UNFINISHED
from experiments.records.sweep import SweepDirectory
from experiments.screen.console import say
from experiments.screen.progress import sweep_progress
from experiments.settings.axes import combinations, options_of
from experiments.settings.config import Settings
from experiments.tasks import TASKS


class Interrupted(Exception):
    """A study was interrupted; the same command goes on."""


def read_sweep(path: Path) -> list[Settings]:
    """The runs of a committed file, which ``sweep --file`` trains too."""
    values = tomllib.loads(path.read_text(encoding="utf-8"))
    task, seeds = TASKS[values.pop("task")], values.pop("seeds", None)
    named = {name.replace("-", "_"): value for name, value in values.items()}
    return every_setting(task, combinations(options_of(named, seeds)))


def train(root: Path, settings: Sequence[Settings]) -> list[Lane]:
    """The lanes of all settings, in their order; ``show`` knows ``root`` as a sweep.

    What is finished there is not trained again. A run that diverged is a result too.

    Raises:
      Interrupted: called again, it goes on.
    """
    lanes = lanes_of(root, settings)
    say(f"{root}: {len(lanes)} runs")
    budgets = {lane.run.path.name: lane.settings.budget.steps for lane in lanes}
    with sweep_progress(budgets) as progress:
        train_sweep(
            SweepDirectory(root),
            lanes,
            How(progress, arguments=("reproduce",)),
            way=default_way(),
            command="python -m experiments reproduce",
        )
    if any(lane.run.status() in UNFINISHED for lane in lanes):
        raise Interrupted
    return lanes
