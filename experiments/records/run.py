"""What a run leaves behind: one directory, and the only code that knows its files.

``config.json`` the settings; ``metrics.csv`` a row per evaluation; ``timing.csv`` the
seconds, cumulative over resumes; ``summary.json`` milestones, time, memory, versions;
``curves.png`` a picture; ``checkpoints/`` the state; ``projections.f32``, if asked for,
the gradient's projections: K float32, little-endian, for every step in turn. Every
file is replaced whole, by a temporary name and a rename, or grows by rows that are on
the disk before the checkpoint that they belong to.
"""

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from experiments.files import (
    append_row,
    header,
    read_json,
    read_table,
    whole_lines,
    write_json,
    write_whole,
)
from experiments.records.status import Status
from experiments.settings.config import Settings
from experiments.settings.flat import changes, first_names, run_name, values_of
from experiments.settings.milestone import TaskFacts

FIRST_COLUMNS = (
    "step",
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
)


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

    def prepare(self, settings: Settings, *, force: bool = False) -> bool:
        """Start a record, or check that the one that is there can go on.

        A run goes on with the same settings, or with more steps. ``force`` removes
        the record that is there.

        Returns:
          Whether there is anything to do: False if the run is finished.

        Raises:
          RecordError: the settings differ, or the directory holds something else.
        """
        if force:
            self._remove()
        elif self.metrics_file.exists():
            if differences := _differences(self.config(), settings):
                raise RecordError(
                    f"{self.path} holds a run with other settings ({differences}); "
                    "choose another --run-dir, or --force to start over."
                )
            if self.is_finished(settings):
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
        facts = settings.config.task.facts()
        config = values_of(settings) | {"about_task": facts.asdict()}
        write_json(self.config_file, config)
        return True

    def is_run(self) -> bool:
        """Whether ``config.json`` is that of a run."""
        try:
            return {"task", "filter", "steps"} <= self.config().keys()
        except (OSError, ValueError, AttributeError):
            return False

    def is_finished(self, settings: Settings) -> bool:
        """Whether a record is there that needs no more steps for these settings."""
        if not (self.metrics_file.exists() and self.summary_file.exists()):
            return False
        summary = self.summary()
        if summary["status"] == Status.COMPLETED:
            return summary["steps"] >= settings.budget.steps
        return summary["status"] != Status.INTERRUPTED

    def status(self) -> str:
        """Where the run stands, whatever its state."""
        if self.summary_file.exists():
            return self.summary()["status"]
        if self.is_locked():
            return Status.RUNNING
        return Status.KILLED if self.metrics() else Status.NOT_STARTED

    def columns(self, names: Sequence[str]) -> list[str]:
        """The columns of the metrics with these names, standard ones first.

        Raises:
          RecordError: the metrics that are there have others.
        """
        first = [name for name in FIRST_COLUMNS if name in names]
        wanted = first + sorted(set(names) - set(first))
        there = header(self.metrics_file)
        if not there:
            return wanted
        if set(there) != set(wanted):
            raise RecordError(
                f"{self.metrics_file} has the columns {_only(there, wanted)}, this run "
                f"would write {_only(wanted, there)}; choose another --run-dir, or "
                "--force to start over."
            )
        return there

    def append(
        self, columns: Sequence[str], row: Mapping[str, Any], seconds: float
    ) -> None:
        """Add a row to the metrics; on disk on return.

        Raises:
          RecordError: the row has other columns; nothing is written.
        """
        if set(columns) != row.keys():
            raise RecordError(
                f"a row of {self.metrics_file} must have the columns "
                f"{', '.join(columns)}; missing {_only(columns, row)}, more "
                f"{_only(row, columns)}."
            )
        # str(np.float32) has the fewest digits that give the same float32.
        append_row(self.metrics_file, columns, [str(row[name]) for name in columns])
        append_row(
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
            header, *lines = whole_lines(file) or [""]
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
        return read_table(self.metrics_file)

    def seconds(self) -> float:
        """Seconds of training so far, over all resumes."""
        table = read_table(self.timing_file)
        return float(table["seconds"][-1]) if table else 0.0

    def has_curves(self) -> bool:
        """Whether ``curves.png`` is there and shows all rows."""
        if not self.curves_file.exists():
            return False
        drawn = self.curves_file.stat().st_mtime_ns
        return drawn >= self.metrics_file.stat().st_mtime_ns

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write ``summary.json``, whole or not at all."""
        write_json(self.summary_file, summary)

    def config(self) -> dict[str, Any]:
        """The recorded settings, by name."""
        config = read_json(self.config_file)
        config.pop("about_task", None)
        return config

    def facts(self) -> TaskFacts:
        """What the record says of its task."""
        return TaskFacts.of_record(read_json(self.config_file))

    def summary(self) -> dict[str, Any]:
        """The recorded summary."""
        return read_json(self.summary_file)

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


def place_of(root: Path, settings: Settings) -> RunDirectory:
    """Where a run of these settings is recorded below ``root``.

    Under its own name, or that of an earlier version if only such a one is there.
    """
    own = root / run_name(settings)
    if not own.exists():
        for name in first_names(settings):
            if (root / name).exists():
                return RunDirectory(root / name)
    return RunDirectory(own)


def find_runs(root: Path) -> list[RunDirectory]:
    """All run directories below ``root``, by path."""
    directories = (file.parent for file in sorted(root.rglob("config.json")))
    return [run for run in map(RunDirectory, directories) if run.is_run()]


def _differences(recorded: Mapping[str, Any], settings: Settings) -> str:
    """What keeps a run from going on, as ``name: old → new, …``; nothing if nothing."""
    return ", ".join(
        f"{name}: {old} → {new}"
        for name, old, new in changes(recorded, settings)
        if name != "steps" or new < old
    )


def _only(names: Iterable[str], others: Iterable[str]) -> str:
    """The names that are not among the others."""
    return ", ".join(sorted(set(names) - set(others))) or "none"
