"""What a run leaves behind: one directory, and the only code that knows its files.

``config.json`` the settings; ``metrics.csv`` a row per evaluation; ``timing.csv`` the
seconds, cumulative over resumes; ``summary.json`` milestones, time, memory, versions;
``curves.png`` a picture; ``checkpoints/`` the state; ``projections.f32``, if asked for,
the gradient's projections: K float32, little-endian, for every step in turn. Every
file is replaced whole, by a temporary name and a rename, or grows by rows that are on
the disk before the checkpoint that they belong to.
"""

import contextlib
import csv
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from experiments.files import write_whole
from experiments.settings.config import Config

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
        self.projections_file = self.path / "projections.f32"
        self.curves_file = self.path / "curves.png"
        self.checkpoints = self.path / "checkpoints"
        self._lock_file = self.path / ".lock"

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes out; the lock ends with this process, however it ends.

        Raises:
          RecordError: another live process uses the directory.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with filelock.FileLock(self._lock_file, timeout=1):
                yield
        except filelock.Timeout:
            raise RecordError(
                f"{self.path} is in use by another process; wait for it, or choose "
                "another --run-dir."
            ) from None

    def is_locked(self) -> bool:
        """Whether a live process uses the directory."""
        if not self._lock_file.exists():
            return False
        try:
            with filelock.FileLock(self._lock_file, timeout=0):
                return False
        except filelock.Timeout:
            return True
        except OSError:  # an archive that cannot be written to
            return False

    def prepare(self, config: Config, *, force: bool = False) -> bool:
        """Start a record, or check that the one that is there can go on.

        A run goes on with the same settings, or with more steps. ``force`` removes
        the record that is there.

        Returns:
          Whether there is anything to do: False if the run is finished.

        Raises:
          RecordError: the settings differ, or the directory holds something else.
        """
        wanted = config.asdict()
        if force:
            self._remove()
        elif self.metrics_file.exists():
            changes = _changes(self.config(), wanted)
            if changes:
                raise RecordError(
                    f"{self.path} holds a run with other settings ({changes}); choose "
                    "another --run-dir, or --force to start over."
                )
            if self.is_finished(config):
                return False
        elif self.checkpoints.exists() and any(self.checkpoints.iterdir()):
            raise RecordError(
                f"{self.path} holds checkpoints without metrics.csv; choose another "
                "--run-dir, or --force to remove them and start over."
            )
        elif self.config_file.exists() and not self.is_run():
            raise RecordError(
                f"{self.config_file} is not that of a run; choose another --run-dir."
            )
        # In this order: a summary beside the new settings would look finished.
        self.summary_file.unlink(missing_ok=True)
        _write_json(self.config_file, wanted)
        return True

    def is_run(self) -> bool:
        """Whether ``config.json`` is that of a run."""
        try:
            return {"task", "filter", "steps"} <= self.config().keys()
        except (OSError, ValueError, AttributeError):
            return False

    def is_finished(self, config: Config) -> bool:
        """Whether a record is there that needs no more steps for these settings."""
        if not (self.metrics_file.exists() and self.summary_file.exists()):
            return False
        return _is_final(self.summary(), config.asdict())

    def append(self, row: dict[str, Any], seconds: float) -> None:
        """Add a row to the metrics, standard columns first; on disk on return."""
        first = [name for name in FIRST_COLUMNS if name in row]
        columns = first + sorted(row.keys() - set(first))
        # str(np.float32) has the fewest digits that give the same float32.
        _append(self.metrics_file, columns, [str(row[name]) for name in columns])
        _append(
            self.timing_file, ["step", "seconds"], [str(row["step"]), f"{seconds:.3f}"]
        )

    def append_projections(self, projections: np.ndarray) -> None:
        """Add the projections of some steps, ``[steps, K]``; on disk on return."""
        with self.projections_file.open("ab") as file:
            file.write(projections.astype("<f4").tobytes())
            file.flush()
            os.fsync(file.fileno())

    def cut(self, step: int, *, keep_row: bool = True) -> None:
        """Forget all that came after ``step`` steps, and any row written in part.

        Args:
          step: number of steps.
          keep_row: keep the row of ``step`` itself too.

        Raises:
          RecordError: the projections of the steps before are not there.
        """
        self._cut_projections(step)
        last = step if keep_row else step - 1
        for file in (self.metrics_file, self.timing_file):
            header, *lines = _whole_lines(file) or [""]
            kept = [line for line in lines if int(line.split(",")[0]) <= last]
            if kept:
                write_whole(file, "".join([header, *kept]).encode())
            else:
                file.unlink(missing_ok=True)

    def _cut_projections(self, step: int) -> None:
        wanted = step * self._projections_per_step() * 4
        file = self.projections_file
        size = file.stat().st_size if file.exists() else 0
        if size < wanted:
            raise RecordError(
                f"{file} has {size} bytes, {wanted} were there at step {step}; "
                "--force starts over."
            )
        if size > wanted:
            with file.open("r+b") as opened:
                opened.truncate(wanted)
                os.fsync(opened.fileno())

    def projections(self) -> np.ndarray:
        """The recorded projections, ``[steps, K]`` float32; row t is of step t, from 0.

        Raises:
          RecordError: none were recorded.
        """
        count = self._projections_per_step()
        if count == 0 or not self.projections_file.exists():
            raise RecordError(
                f"{self.path} has no gradient projections; train with "
                "--gradient-projections 16, say."
            )
        numbers = np.fromfile(self.projections_file, "<f4")
        return numbers[: len(numbers) // count * count].reshape(-1, count)

    def _projections_per_step(self) -> int:
        return self.config().get("gradient_projections", 0)  # older records: none

    def metrics(self) -> dict[str, np.ndarray]:
        """The recorded metrics, a column each; empty before the first row."""
        return _read_table(self.metrics_file)

    def seconds(self) -> float:
        """Seconds of training so far, over all resumes."""
        table = _read_table(self.timing_file)
        return float(table["seconds"][-1]) if table else 0.0

    def write_curves(self, picture: bytes) -> None:
        """Write ``curves.png``."""
        write_whole(self.curves_file, picture)

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
        """Remove the record, the settings last: a kill on the way leaves a run."""
        self.summary_file.unlink(missing_ok=True)
        for directory in (self.checkpoints, *self.path.glob("damaged-checkpoint-*")):
            if directory.exists():
                shutil.rmtree(directory)
        for file in (
            self.metrics_file,
            self.timing_file,
            self.projections_file,
            self.curves_file,
            self.config_file,
        ):
            file.unlink(missing_ok=True)


def run_name(config: Config) -> str:
    """A directory name that is a function of the settings alone, but for the steps."""
    values = config.asdict()
    del values["steps"]  # a run may go on with more
    settings = json.dumps(values, sort_keys=True)
    digest = hashlib.sha256(settings.encode()).hexdigest()[:8]
    return (
        f"{config.task.name}-{config.filter.filter}-seed{config.training.seed}-{digest}"
    )


def find_runs(root: Path) -> list[RunDirectory]:
    """All run directories below ``root``, by path."""
    directories = (file.parent for file in sorted(root.rglob("config.json")))
    return [run for run in map(RunDirectory, directories) if run.is_run()]


def _is_final(summary: dict[str, Any], wanted: dict[str, Any]) -> bool:
    if summary["status"] == "completed":
        return summary["steps"] >= wanted["steps"]
    return summary["status"] != INTERRUPTED


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


def _whole_lines(path: Path) -> list[str]:
    """The lines of a table; one that was written in part is no line."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines(keepends=True)
    return [line for line in lines if line.endswith("\n")]


def _read_table(path: Path) -> dict[str, np.ndarray]:
    lines = _whole_lines(path)
    if len(lines) < 2:
        return {}
    table = np.genfromtxt(lines, delimiter=",", names=True, ndmin=1, dtype=None)
    return {name: table[name] for name in table.dtype.names}


def _append(path: Path, columns: list[str], values: list[str]) -> None:
    is_new = not path.exists() or path.stat().st_size == 0
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
    write_whole(path, f"{text}\n".encode())


def _finite_or_none(value: Any) -> Any:
    """JSON knows neither NaN nor infinities."""
    if isinstance(value, dict):
        return {key: _finite_or_none(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
