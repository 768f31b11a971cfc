"""The main job: x·y mod 97 with Grokfast-EMA and decay, the decay alone, and neither.

All start from the same weights and see the same batches. The first two have the
published weight decay, 0.005, the first the published filter too; both train until they
generalise. The third is Adam as published, without either, for as long as the longer of
them. The decay's part and the filter's are therefore two pairs of curves.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.methods.named import settings_of
from experiments.pictures.curves import plot_comparison
from experiments.records.run import RunDirectory
from experiments.records.status import Status
from experiments.screen import console
from experiments.settings.config import Settings
from experiments.settings.milestone import FIT_99, GENERALISED_95, GENERALISED_99
from experiments.studies.runs import train_run
from experiments.tasks.modular import ModularTask

TARGET = 0.99
MAX_STEPS = 5000
EVAL_EVERY = 40
DECAY = 0.005
BOTH, DECAY_ALONE, NEITHER = "filter and decay", "decay alone", "neither"
_TASK = ModularTask()


def grok(
    seed: int,
    directory: Path,
    *,
    task: ModularTask = _TASK,
    max_steps: int = MAX_STEPS,
    force: bool = False,
    arguments: Sequence[str] = (),
) -> str:
    """Train all three, print the comparison and write ``comparison.png``.

    Args:
      seed: seed of the runs.
      directory: where to record them.
      task: another task, for a shorter trial.
      max_steps: budget of a run.
      force: start over instead of going on.
      arguments: of the command line, for the summaries.

    Returns:
      The status of the run that ended badly, if one did, else of the last.
    """
    runs, summaries = {}, {}

    def train(label: str, name: str, settings: Settings) -> str:
        runs[label] = run = RunDirectory(directory / name)
        train_run(settings, run, label=label, force=force, arguments=arguments)
        summaries[label] = run.summary()
        return summaries[label]["status"]

    common = {"seed": seed, "eval_every": EVAL_EVERY}
    decay = common | {"weight_decay": DECAY, "steps": max_steps, "stop_at": TARGET}
    both = settings_of(task, filter="ema", **decay)
    status = train(BOTH, "filter-and-decay", both)
    if status not in (Status.DIVERGED, Status.INTERRUPTED):
        status = train(DECAY_ALONE, "decay-alone", settings_of(task, **decay))
    if status in (Status.DIVERGED, Status.INTERRUPTED):
        return status
    steps = max(summary["steps"] for summary in summaries.values())
    status = train(NEITHER, "neither", settings_of(task, steps=steps, **common))

    picture = directory / "comparison.png"
    plot_comparison(runs, picture, f"x·y mod 97, half of the table, seed {seed}")
    _print(summaries)
    console.say(
        "A dash: not reached in these steps. One seed shows what one seed does:\n"
        "README.md has the studies.\n"
        f"Picture: {console.place(picture)}"
    )
    return status


def _print(summaries: dict[str, dict[str, Any]]) -> None:
    found = [summary["milestones"] for summary in summaries.values()]
    final = [summary["final"] for summary in summaries.values()]
    console.print_table(
        "x·y mod 97, half of the table for training",
        ("", *summaries),
        [
            ["filter", "EMA α = .98, λ = 2", "none", "none"],
            ["weight decay", DECAY, DECAY, 0],
            ["steps trained", *(summary["steps"] for summary in summaries.values())],
            *(
                [milestone.words, *(results[milestone.name] for results in found)]
                for milestone in (FIT_99, GENERALISED_95, GENERALISED_99)
            ),
            [
                "final validation accuracy",
                *(f"{row['validation_accuracy']:.1%}" for row in final),
            ],
            ["seconds", *(f"{s['seconds']:.0f}" for s in summaries.values())],
        ],
    )
