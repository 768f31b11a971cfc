"""Three runs that have little in common, from records that nobody trained."""

import numpy as np

from experiments.methods.named import settings_of
from experiments.tasks import TASKS
from tests.support.made_up import record
from tests.support.tiny import TASK


def different_tasks(path):
    """One without accuracies; one that diverged; one that was to stop at a target."""
    rising = [0.1, 0.5, 1.0]
    accuracies = {"train_accuracy": rising, "validation_accuracy": rising[:1] * 3}
    lost = {"train_loss": [3, np.nan, np.inf], "validation_loss": [3, np.nan, np.nan]}
    falling = {"train_loss": [3, 2, 1], "validation_loss": [3, 2.4, 2.3]}
    runs = {
        "qm9": (settings_of(TASKS["qm9"](), eval_every=10), falling, "completed"),
        "lost": (settings_of(TASK, eval_every=10), accuracies | lost, "diverged"),
        "target": (
            settings_of(TASK, eval_every=10, stop_at="validation_loss<=2.5"),
            accuracies | falling | {"weight_norm": [np.nan, 5, np.nan]},
            "reached target",
        ),
    }
    for name, (settings, curves, status) in runs.items():
        at = 7 if status == "diverged" else None
        record(path / name, settings, curves, status=status, diverged_at_step=at)
    return path
