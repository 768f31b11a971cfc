"""What a run leaves behind: one directory, and the only code that knows its files.

``config.json`` the settings; ``metrics.csv`` a row per evaluation; ``timing.csv`` the
seconds, cumulative over resumes; ``summary.json`` milestones, time, memory, versions;
``curves.png`` a picture; ``checkpoints/`` the state. Every file is replaced whole, by a
temporary name and a rename, or grows by rows that are on the disk before the
checkpoint that they belong to.
"""

import contextlib
import csv
import json
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from experiments.config import Config

FIRST_COLUMNS = (
    "step",
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
)
INTERRUPTED = "interrupted"
"""The status of a run that may go on; every other status is final."""


class RecordError(ValueError):
    """A run directory cannot serve as asked; the message says why and what to do."""


class RunDirectory:
    """The files of one run.

    Args:
      path: the directory; need not exist.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self.config_file = self.path / "config.json"
        self.metrics_file = self.path / "metrics.csv"
        self.timing_file = self.path / "timing.csv"
        self.summary_file = self.path / "summary.json"
        self.curves_file = self.path / "curves.png"
        self.checkpoints = self.path / "checkpoints"

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes out; the lock ends with this process, however it ends.

        Raises:
          RecordError: another live process uses the directory.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with filelock.FileLock(self.path / ".lock", timeout=0):
                yield
        except filelock.Timeout:
            raise RecordError(
                f"{self.path} is in use by another process; wait for it, or choose "
                "another --run-dir."
            ) from None

    def is_locked(self) -> bool:
        """Whether a live process uses the directory."""
        try:
            with filelock.FileLock(self.path / ".lock", timeout=0):
                return False
        except filelock.Timeout:
            return True

    def prepare(self, config: Config, *, force: bool = False) -> bool:
        """Start a record, or check that the one that is there can go on.

        A run goes on with the same settings, or with more steps. ``force`` removes
        the record that is there.

        Returns:
          Whether there is anything to do: False if the run is finished.

        Raises:
          RecordError: the settings differ.
        """
        wanted = config.asdict()
        if force or not self.metrics_file.exists():
            self._remove()
        if self.metrics_file.exists():
            recorded = self.config()
            changes = _changes(recorded, wanted)
            if changes:
                raise RecordError(
                    f"{self.path} holds a run with other settings ({changes}); choose "
                    "another --run-dir, or --force to start over."
                )
            more = wanted["steps"] > recorded["steps"]
            status = self.summary()["status"] if self.summary_file.exists() else ""
            finished = status not in ("", INTERRUPTED)
            if finished and not (more and status == "completed"):
                return False
        _write_json(self.config_file, wanted)
        self.summary_file.unlink(missing_ok=True)
        return True

    def append(self, row: dict[str, Any], seconds: float) -> None:
        """Add a row to the metrics, standard columns first; on disk on return."""
        first = [name for name in FIRST_COLUMNS if name in row]
        columns = first + sorted(row.keys() - set(first))
        # str(np.float32) has the fewest digits that give the same float32.
        _append(self.metrics_file, columns, [str(row[name]) for name in columns])
        _append(
            self.timing_file, ["step", "seconds"], [str(row["step"]), f"{seconds:.3f}"]
        )

    def cut(self, step: int) -> None:
        """Forget all rows after ``step``, and any row written in part."""
        for file in (self.metrics_file, self.timing_file):
            if file.exists():
                header, *lines = file.read_text().splitlines(keepends=True)
                kept = [
                    line
                    for line in lines
                    if line.endswith("\n") and int(line.split(",")[0]) <= step
                ]
                _write(file, "".join([header, *kept]) if kept else None)

    def metrics(self) -> dict[str, np.ndarray]:
        """The recorded metrics, a column each; empty before the first row."""
        return _read_table(self.metrics_file)

    def seconds(self) -> float:
        """Seconds of training so far, over all resumes."""
        table = _read_table(self.timing_file)
        return float(table["seconds"][-1]) if table else 0.0

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write ``summary.json``, whole or not at all."""
        _write_json(self.summary_file, summary)

    def config(self) -> dict[str, Any]:
        """The recorded settings."""
        return json.loads(self.config_file.read_text())

    def summary(self) -> dict[str, Any]:
        """The recorded summary."""
        return json.loads(self.summary_file.read_text())

    def _remove(self) -> None:
        files = (
            self.config_file,
            self.metrics_file,
            self.timing_file,
            self.summary_file,
            self.curves_file,
        )
        for file in files:
            file.unlink(missing_ok=True)
        for directory in (self.checkpoints, *self.path.glob("damaged-checkpoint-*")):
            if directory.exists():
                shutil.rmtree(directory)


def find_runs(root: Path) -> list[RunDirectory]:
    """All run directories below ``root``, by path."""
    return [RunDirectory(file.parent) for file in sorted(root.rglob("config.json"))]


def _changes(recorded: dict[str, Any], wanted: dict[str, Any]) -> str:
    """The settings that keep a run from going on, as ``name: old → new, …``."""
    names = [
        name
        for name in {**recorded, **wanted}
        if recorded.get(name) != wanted.get(name) and name != "steps"
    ]
    if wanted["steps"] < recorded["steps"]:
        names.append("steps")
    return ", ".join(f"{n}: {recorded.get(n)} → {wanted.get(n)}" for n in names)


def _read_table(path: Path) -> dict[str, np.ndarray]:
    if not path.exists():
        return {}
    table = np.genfromtxt(path, delimiter=",", names=True, ndmin=1, dtype=None)
    return {name: table[name] for name in table.dtype.names} if table.size else {}


def _append(path: Path, columns: list[str], values: list[str]) -> None:
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if is_new:
            writer.writerow(columns)
        writer.writerow(values)
        file.flush()
        os.fsync(file.fileno())


def _write_json(path: Path, value: Any) -> None:
    text = json.dumps(
        _finite_or_none(value), indent=2, ensure_ascii=False, allow_nan=False
    )
    _write(path, text + "\n")


def _finite_or_none(value: Any) -> Any:
    """JSON knows neither NaN nor infinities."""
    if isinstance(value, dict):
        return {key: _finite_or_none(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _write(path: Path, text: str | None) -> None:
    """Replace a file whole, by a temporary name and a rename; None removes it."""
    if text is None:
        path.unlink(missing_ok=True)
        return
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
