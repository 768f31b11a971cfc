"""The recorded curves as the page carries them: float32 as recorded, in base64."""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.pictures.report.thin import kept, points_of
from experiments.records.run import RunDirectory

COLUMNS = (
    "train_accuracy",
    "validation_accuracy",
    "train_loss",
    "validation_loss",
    "weight_norm",
)


def curves(runs: Sequence[RunDirectory]) -> dict[str, Any]:
    """Curves of runs: ``steps``, ``runs``, and ``points`` if some are thinned.

    ``steps`` are arrays of steps, each once however many runs share it. A run is the
    place of its ``steps`` there and its ``columns``: ``at``, the places of the
    evaluations that are drawn, None for all of them, and ``values`` at these.
    """
    most = points_of(len(runs))
    steps: dict[str, int] = {}
    found, is_thinned = [], False
    for run in runs:
        metrics = run.metrics()
        encoded = _base64(metrics.get("step", np.zeros(0)), "<f8")
        columns = {}
        for name in COLUMNS:
            if name not in metrics:
                continue
            values = metrics[name]
            places = kept(values, most)
            is_thinned |= len(places) < np.isfinite(values).sum()
            is_whole = len(places) == len(values)
            columns[name] = {
                "at": None if is_whole else _base64(places, "<u4"),
                "values": _base64(values[places], "<f4"),
            }
        place = steps.setdefault(encoded, len(steps))
        found.append({"steps": place, "columns": columns})
    points = most if is_thinned else None
    return {"steps": list(steps), "runs": found, "points": points}


def _base64(values: np.ndarray, dtype: str) -> str:
    return base64.b64encode(values.astype(dtype).tobytes()).decode("ascii")
