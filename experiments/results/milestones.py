"""When a run fitted its training set and when it generalised.

A milestone is the first evaluated step at which a column reaches a threshold; its
*sustained* form asks for three evaluations in a row and names the first of them.
Steps are optimizer updates done, known to the interval between two evaluations. A
threshold that was not reached is None: the run is right-censored at its last step.
Beside them stands the lowest validation loss: over the evaluations, so that more
frequent ones find a lower one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.settings.milestone import FIT_99, GENERALISED_99, Milestone

Metrics = Mapping[str, np.ndarray]
SUSTAINED_EVALUATIONS = 3
DELAY = "delay"
LOWEST_LOSS, LOWEST_LOSS_STEP = "min_validation_loss", "t_min_validation_loss"
OTHER_WORDS = {
    DELAY: "delay (steps)",
    LOWEST_LOSS: "lowest validation loss",
    LOWEST_LOSS_STEP: "… at step",
}
"""What the results that are no milestones of a task are called in tables."""


def first_step(
    steps: np.ndarray,
    values: np.ndarray,
    threshold: float,
    *,
    consecutive: int = 1,
    lower_is_better: bool = False,
) -> int | None:
    """First step from which ``consecutive`` values in a row reach the threshold.

    Example:
      >>> steps = np.array([0, 10, 20, 30, 40])
      >>> accuracy = np.array([0.1, 0.96, 0.3, 0.97, 0.99])
      >>> first_step(steps, accuracy, 0.95)
      10
      >>> first_step(steps, accuracy, 0.95, consecutive=2)
      30
    """
    reached = values <= threshold if lower_is_better else values >= threshold
    if len(reached) < consecutive:
        return None
    windows = np.lib.stride_tricks.sliding_window_view(reached, consecutive)
    hits = np.flatnonzero(windows.all(axis=1))
    return int(steps[hits[0]]) if hits.size else None


def threshold_of(milestone: Milestone, metrics: Metrics) -> float:
    """The value that the column is to reach in this run."""
    if not milestone.of_best:
        return milestone.threshold
    best = np.nanmin if milestone.lower_is_better else np.nanmax
    return milestone.threshold * float(best(metrics[milestone.column]))


def step_of(
    milestone: Milestone, metrics: Metrics, *, consecutive: int = 1
) -> int | None:
    """The step at which a run reached a milestone; None where it was not measured."""
    if not np.isfinite(metrics.get(milestone.column, np.nan)).any():
        return None
    return first_step(
        metrics["step"],
        metrics[milestone.column],
        threshold_of(milestone, metrics),
        consecutive=consecutive,
        lower_is_better=milestone.lower_is_better,
    )


def milestones(metrics: Metrics, asked: Sequence[Milestone]) -> dict[str, Any]:
    """Results of a run from its metrics, by name.

    The milestones asked for, each also ``_sustained``; ``delay``: t_gen_99 − t_fit_99;
    ``min_validation_loss`` and ``t_min_validation_loss``, its first step. Empty before
    the first evaluation.
    """
    if not metrics:
        return {}
    result: dict[str, Any] = {}
    for milestone in asked:
        result[milestone.name] = step_of(milestone, metrics)
        result[f"{milestone.name}_sustained"] = step_of(
            milestone, metrics, consecutive=SUSTAINED_EVALUATIONS
        )
    if {FIT_99.name, GENERALISED_99.name} <= result.keys():
        fit, generalised = result[FIT_99.name], result[GENERALISED_99.name]
        both = fit is not None and generalised is not None
        result[DELAY] = generalised - fit if both else None
    losses = metrics["validation_loss"]
    if np.isfinite(losses).any():
        lowest = int(np.nanargmin(losses))
        result[LOWEST_LOSS] = float(losses[lowest])
        result[LOWEST_LOSS_STEP] = int(metrics["step"][lowest])
    return result
