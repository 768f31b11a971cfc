"""A milestone relative to a run's own best needs a best that is one."""

import numpy as np
import pytest

from experiments.results.milestones import milestones
from experiments.settings.milestone import (
    GENERALISED_95_OF_BEST,
    OF_ACCURACY,
    Milestone,
)


def of_best(accuracies, milestone=GENERALISED_95_OF_BEST):
    values = np.array(accuracies, float)
    steps = 20 * np.arange(len(values))
    metrics = {"step": steps, milestone.column: values, "validation_loss": values}
    return milestones(metrics, [milestone])[milestone.name]


@pytest.mark.parametrize(
    ("accuracies", "step"),
    [
        ([0.05, 0.04, 0.03], None),  # the best is the start
        ([0.036, 0.055, 0.05], None),  # chance, of 23 classes
        ([0.5, 0.54, 0.53], None),  # of 2
        ([0.7, 0.7, 0.7], None),
        ([np.nan, np.nan], None),
        ([0.1, 0.7, 0.85, 0.88], 40),  # 0.836 of 0.88
        ([0.01, 0.1, 0.3], 40),
        ([0.9, 1.0, 1.0], 20),  # a tenth, where it is all that there is
    ],
)
def test_at_chance_level_there_is_none(accuracies, step):
    assert of_best(accuracies) == step


def test_of_a_loss_the_best_is_below_the_start():
    loss = Milestone("t", "loss", 1.1, "", "", "s", lower_is_better=True, of_best=True)
    assert of_best([2.0, 1.0, 0.5], loss) == 40
    assert of_best([2.0, 1.9, 2.5], loss) is None


def test_every_marker_has_one_meaning():
    from experiments.pictures.curves import LOWEST_MARKER
    from experiments.tasks import TASKS

    meanings = {}
    for task in TASKS.values():
        for milestone in task.facts().milestones:
            meanings.setdefault(milestone.marker, set()).add(milestone.short)
    assert all(len(words) == 1 for words in meanings.values())
    assert LOWEST_MARKER not in meanings
    assert len(OF_ACCURACY) == len({m.marker for m in OF_ACCURACY})
