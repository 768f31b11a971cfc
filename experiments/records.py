"""What a run leaves behind: one directory, and the only code that knows its files.

``config.json`` the settings; ``metrics.csv`` a row per evaluation; ``summary.json``
milestones, time, memory, versions; ``curves.png`` a picture.
"""

import csv
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from experiments.config import Config

FIRST_COLUMNS = (
    "step",
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
)


class RunDirectory:
    """The files of one run.

    Args:
      path: the directory; need not exist.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self.config_file = self.path / "config.json"
        self.metrics_file = self.path / "metrics.csv"
        self.summary_file = self.path / "summary.json"
        self.curves_file = self.path / "curves.png"

    def create(self, config: Config, *, force: bool = False) -> None:
        """Start a record; ``force`` replaces the one that is there.

        Raises:
          FileExistsError: the directory holds a record and ``force`` is False.
        """
        if self.metrics_file.exists() and not force:
            raise FileExistsError(
                f"{self.path} holds a run already; choose another --run-dir, or "
                "--force to replace it."
            )
        self.path.mkdir(parents=True, exist_ok=True)
        for file in (self.metrics_file, self.summary_file, self.curves_file):
            file.unlink(missing_ok=True)
        _write_json(self.config_file, config.asdict())

    def append(self, row: dict[str, Any]) -> None:
        """Add a row to the metrics, standard columns first; on disk on return."""
        columns = [name for name in FIRST_COLUMNS if name in row]
        columns += [name for name in row if name not in columns]
        is_new = not self.metrics_file.exists()
        with self.metrics_file.open("a", newline="") as file:
            writer = csv.writer(file)
            if is_new:
                writer.writerow(columns)
            # str(np.float32) has the fewest digits that give the same float32.
            writer.writerow([str(row[name]) for name in columns])

    def metrics(self) -> dict[str, np.ndarray]:
        """The recorded metrics, a column each."""
        table = np.genfromtxt(
            self.metrics_file, delimiter=",", names=True, ndmin=1, dtype=None
        )
        return {name: table[name] for name in table.dtype.names}

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write ``summary.json``, whole or not at all."""
        _write_json(self.summary_file, summary)

    def config(self) -> dict[str, Any]:
        """The recorded settings."""
        return json.loads(self.config_file.read_text())

    def summary(self) -> dict[str, Any]:
        """The recorded summary."""
        return json.loads(self.summary_file.read_text())


def _write_json(path: Path, value: Any) -> None:
    value = _finite_or_none(value)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(
        json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    )
    os.replace(temporary, path)


def _finite_or_none(value: Any) -> Any:
    """JSON knows neither NaN nor infinities."""
    if isinstance(value, dict):
        return {key: _finite_or_none(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
