"""A sweep of as many lanes and evaluations as a test wants, which nobody trained.

Settings, states and summaries are written by the house's own writers; metrics at once,
as rows that are each on the disk before the next would take minutes.
"""

from pathlib import Path

import numpy as np

from experiments.files import write_json
from experiments.methods.named import every_setting
from experiments.records.run import RunDirectory
from experiments.records.sweep import SweepDirectory
from experiments.settings.axes import combinations, options_of
from tests.support.tiny import TASK

VERSIONS = {"python": "3.11.7", "jax": "0.10.2"}


def many_lanes(
    path: Path, values: dict, evaluations: int, *, samples: int | None = None
) -> SweepDirectory:
    """Lanes of all combinations of these values, or of draws from ranges.

    Every fifth never generalises.
    """
    directory = SweepDirectory(path)
    every = 20
    values = values | {"steps": [every * (evaluations - 1)], "eval_every": [every]}
    names = []
    rows = combinations(options_of(values), samples=samples)
    for index, settings in enumerate(every_setting(type(TASK), rows)):
        run = RunDirectory(directory.lanes_directory / f"lane-{index:04}")
        names.append(run.path.name)
        run.path.mkdir(parents=True)
        run.prepare(settings)
        metrics = _metrics(index, evaluations, every)
        columns = run.columns(list(metrics))
        rows = zip(*(metrics[name] for name in columns), strict=True)
        lines = [",".join(columns), *(",".join(map(str, row)) for row in rows)]
        run.metrics_file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        run.write_summary(
            {
                "status": "completed",
                "steps": int(metrics["step"][-1]),
                "diverged_at_step": None,
                "device": "1 × cpu (cpu)",
                "versions": VERSIONS,
            }
        )
    write_json(directory.plan_file, {"command": "", "lanes": names})
    return directory


def _metrics(index: int, evaluations: int, every: int) -> dict[str, np.ndarray]:
    """Curves that grok at a step of their own, with noise: hard to draw."""
    rng = np.random.default_rng(index)
    steps = every * np.arange(evaluations)
    at = steps[-1] * (2 if index % 5 == 4 else rng.uniform(0.2, 0.8))
    width = 0.03 * steps[-1]
    risen = 1 / (1 + np.exp(np.clip((at - steps) / width, -50, 50)))
    fitted = 1 - np.exp(-30 * steps / steps[-1])

    def noisy(values: np.ndarray, size: float) -> np.ndarray:
        return values * np.exp(size * rng.normal(size=evaluations))

    return {
        "step": steps,
        "train_loss": noisy(4 * np.exp(-8 * fitted), 0.1).astype(np.float32),
        "train_accuracy": np.clip(noisy(fitted, 0.01), 0, 1).astype(np.float32),
        "validation_loss": noisy(5 - 4.99 * risen, 0.1).astype(np.float32),
        "validation_accuracy": np.clip(noisy(0.01 + risen, 0.02), 0, 1).astype(
            np.float32
        ),
        "weight_norm": noisy(30 - 12 * risen, 0.005).astype(np.float32),
    }


LANES_200 = {  # five seeds of forty settings
    "filter": ["ema"],
    "alpha": [0.9, 0.95, 0.98, 0.99, 0.995],
    "lamb": [0.5, 1.0, 2.0, 5.0],
    "weight_decay": [0.005, 0.5],
    "seed": list(range(5)),
}
