"""When a run fitted its training set and when it generalised.

A milestone is the first evaluated step at which a column reaches a threshold; its
*sustained* form asks for three evaluations in a row and names the first of them.
Steps are optimizer updates done, known to the interval between two evaluations. A
threshold that was not reached is None: the run is right-censored at its last step.
A milestone relative to the run's own best is None too where that best is no success:
see :func:`has_improved`.
Beside them stands the lowest validation loss: over the evaluations, so that more
frequent ones find a lower one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.settings.milestone import FIT_99, GENERALISED_99, Milestone, TaskFacts
from experiments.settings.target import Target

Metrics = Mapping[str, np.ndarray]
SUSTAINED_EVALUATIONS = 3
DELAY = "delay"
TARGET = "t_target"
LOWEST_LOSS, LOWEST_LOSS_STEP = "min_validation_loss", "t_min_validation_loss"
OTHER_WORDS = {
    DELAY: "delay (steps)",
    LOWEST_LOSS: "lowest validation loss",
    LOWEST_LOSS_STEP: "… at step",
    TARGET: "steps to the target",
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


LEAST_GAIN = 0.1
"""Part of the way to perfect that a run's best must have come to mean something."""


def has_improved(values: np.ndarray, *, lower_is_better: bool = False) -> bool:
    """Whether the best of some values is better than the first by more than chance.

    The first evaluation is that of a network that knows nothing: chance level, of
    however many classes. From there to perfect, 1 of an accuracy and 0 of a loss, the
    best must have come a tenth of the way. Less is what evaluations scatter by, and
    "95 % of its best" would be the step of an accident, or step 0.

    Example:
      >>> has_improved(np.array([0.036, 0.055, 0.05]))
      False
      >>> has_improved(np.array([0.1, 0.7, 0.88]))
      True
    """
    values = values[np.isfinite(values)]
    if not len(values):
        return False
    best = values.min() if lower_is_better else values.max()
    gain, whole = best - values[0], (0 if lower_is_better else 1) - values[0]
    return bool(gain != 0 and abs(gain) >= LEAST_GAIN * abs(whole))


def threshold_of(milestone: Milestone, metrics: Metrics) -> float:
    """The value that the column is to reach in this run."""
    if not milestone.of_best:
        return milestone.threshold
    best = np.nanmin if milestone.lower_is_better else np.nanmax
    return milestone.threshold * float(best(metrics[milestone.column]))


def step_of(
    milestone: Milestone, metrics: Metrics, *, consecutive: int = 1
) -> int | None:
    """The step at which a run reached a milestone.

    None too where it was not measured, or where it means nothing.
    """
    values = metrics.get(milestone.column, np.array([np.nan]))
    if not np.isfinite(values).any():
        return None
    lower_is_better = milestone.lower_is_better
    if milestone.of_best and not has_improved(values, lower_is_better=lower_is_better):
        return None
    return first_step(
        metrics["step"],
        values,
        threshold_of(milestone, metrics),
        consecutive=consecutive,
        lower_is_better=lower_is_better,
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


def results_of(
    metrics: Metrics, config: Mapping[str, Any], facts: TaskFacts
) -> dict[str, Any]:
    """The milestones of a record, and ``t_target`` if it was to stop at a target."""
    found = milestones(metrics, facts.milestones)
    if metrics and (stop_at := config.get("stop_at")) is not None:
        target = Target.parse(str(stop_at))
        found[TARGET] = first_step(
            metrics["step"],
            metrics[target.column],
            target.value,
            lower_is_better=target.lower_is_better,
        )
    return found


def compared_by(config: Mapping[str, Any], facts: TaskFacts) -> str:
    """The name of the result that a run is compared by: its target, or its task's."""
    return facts.milestone if config.get("stop_at") is None else TARGET


def is_time(milestone: str) -> bool:
    """Whether a result is a number of steps, which may not have been reached."""
    return milestone.startswith("t_")
