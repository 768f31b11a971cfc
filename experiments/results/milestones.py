"""When a run fitted its training set and when it generalised.

A milestone is the first evaluated step at which an accuracy reaches a threshold; its
*sustained* form asks for three evaluations in a row and names the first of them.
Steps are optimizer updates done, known to the interval between two evaluations. A
threshold that was not reached is None: the run is right-censored at its last step.
Beside the accuracies stands the lowest validation loss: over the evaluations, so that
more frequent ones find a lower one.
"""

from typing import Any

import numpy as np

SUSTAINED_EVALUATIONS = 3


def first_step(
    steps: np.ndarray, values: np.ndarray, threshold: float, *, consecutive: int = 1
) -> int | None:
    """First step from which ``consecutive`` values in a row are ≥ threshold.

    Example:
      >>> steps = np.array([0, 10, 20, 30, 40])
      >>> accuracy = np.array([0.1, 0.96, 0.3, 0.97, 0.99])
      >>> first_step(steps, accuracy, 0.95)
      10
      >>> first_step(steps, accuracy, 0.95, consecutive=2)
      30
    """
    reached = values >= threshold
    if len(reached) < consecutive:
        return None
    windows = np.lib.stride_tricks.sliding_window_view(reached, consecutive)
    hits = np.flatnonzero(windows.all(axis=1))
    return int(steps[hits[0]]) if hits.size else None


def thresholds(
    metrics: dict[str, np.ndarray], published_accuracy: float | None = None
) -> dict[str, tuple[str, float]]:
    """Metric and threshold of every milestone; none if the task has no accuracy.

    ``t_fit_99``: training accuracy 99 %; ``t_gen_95`` and ``t_gen_99``: validation
    accuracy 95 % and 99 %. Where few examples keep those out of reach, relative ones:
    ``t_gen_95_of_best`` is 95 % of the run's own best validation accuracy,
    ``t_gen_95_of_published`` 95 % of ``published_accuracy``, if there is one.
    """
    if "train_accuracy" not in metrics:
        return {}
    best = float(np.nanmax(metrics["validation_accuracy"]))
    relative = {"t_gen_95_of_best": best, "t_gen_95_of_published": published_accuracy}
    return {
        "t_fit_99": ("train_accuracy", 0.99),
        "t_gen_95": ("validation_accuracy", 0.95),
        "t_gen_99": ("validation_accuracy", 0.99),
    } | {
        name: ("validation_accuracy", 0.95 * whole)
        for name, whole in relative.items()
        if whole is not None
    }


def milestones(
    metrics: dict[str, np.ndarray], published_accuracy: float | None = None
) -> dict[str, Any]:
    """Milestones of a run from its metrics, by name.

    Those of :func:`thresholds`, each also ``_sustained``; ``delay``: t_gen_99 −
    t_fit_99; ``min_validation_loss`` and ``t_min_validation_loss``, its first step.
    Empty before the first evaluation.
    """
    if not metrics:
        return {}
    result: dict[str, Any] = {}
    for name, (column, threshold) in thresholds(metrics, published_accuracy).items():
        curve = metrics["step"], metrics[column], threshold
        result[name] = first_step(*curve)
        result[f"{name}_sustained"] = first_step(
            *curve, consecutive=SUSTAINED_EVALUATIONS
        )
    if "t_fit_99" in result:
        fit, generalised = result["t_fit_99"], result["t_gen_99"]
        both = fit is not None and generalised is not None
        result["delay"] = generalised - fit if both else None
    losses = metrics["validation_loss"]
    if np.isfinite(losses).any():
        lowest = int(np.nanargmin(losses))
        result["min_validation_loss"] = float(losses[lowest])
        result["t_min_validation_loss"] = int(metrics["step"][lowest])
    return result
