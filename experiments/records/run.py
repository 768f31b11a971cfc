"""What a run leaves behind: one directory, and the only code that knows its files.

``config.json`` the settings, the data's checksum, and when and from which source the
run was begun;
``metrics.csv`` a row per evaluation; ``timing.csv`` the
seconds, and those of them that compiled, cumulative over resumes; ``summary.json``
milestones, time, memory, versions; ``curves.png`` a picture; ``checkpoints/`` the
state; ``projections.f32``, if asked for, the gradient's projections: K float32,
little-endian, for every step in turn. Every file is replaced whole, by a temporary name
and a rename, or grows by rows that are on the disk before the checkpoint that they
belong to.
"""

import contextlib
import datetime
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
    naming,
    read_json,
    read_table,
    whole_lines,
    write_json,
    write_whole,
)
from experiments.lock import acquired, is_held
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
_BEGUN, _DATA = "begun", "data_sha256"  # in config.json, beside the settings


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
          RecordError: another live process uses the directory, or it has a name that
            checkpoints cannot have.
          OSError: the directory cannot be made, or locked.
        """
        self._check_name()
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            lock = acquired(self._lock_file, seconds=1)
        except filelock.Timeout as error:
            advice = "wait for it, or choose another --run-dir"
            if error.lock_file != str(self._lock_file):  # may outlive its process
                advice += f"; if none runs, on any machine, remove {error.lock_file}"
            raise RecordError(
                f"{self.path} is in use by another process; {advice}."
            ) from None
        except OSError:
            with contextlib.suppress(OSError):  # not empty: it was there before
                self.path.rmdir()
            raise
        with lock:
            yield

    def is_locked(self) -> bool:
        """Whether a live process uses the directory."""
        return is_held(self._lock_file)

    def _check_name(self) -> None:
        try:
            str(self.path.absolute()).encode()
        except UnicodeEncodeError:
            raise RecordError(
                f"{self.path} is no UTF-8, which names of checkpoints must be; choose "
                "another --run-dir (or set PYTHONUTF8=1, if it is in UTF-8)."
            ) from None

    def prepare(
        self, settings: Settings, data: str | None = None, *, force: bool = False
    ) -> bool:
        """Start a record, or check that the one that is there can go on.

        A run goes on with the same settings, or with more steps, on the same data.

        Args:
          settings: of the run.
          data: checksum of its data, from :func:`tree_sha256`; None: not compared.
          force: remove the record that is there.

        Returns:
          Whether there is anything to do: False if the run is finished.

        Raises:
          RecordError: settings or data differ, or the directory holds something else.
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
            if data is not None:
                self.check_data(data)
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
        there = read_json(self.config_file) if self.config_file.exists() else {}
        about: dict[str, Any] = {"about_task": settings.config.task.facts().asdict()}
        about |= {name: there[name] for name in (_DATA, _BEGUN) if name in there}
        if data is not None:
            about[_DATA] = data
        write_json(self.config_file, values_of(settings) | about)
        return True

    def check_data(self, sha256: str) -> None:
        """Compare data with those that the run was begun on.

        A text, an encoder or images may have changed since; of earlier records nothing
        is known.

        Raises:
          RecordError: they are others.
        """
        recorded = read_json(self.config_file).get(_DATA, sha256)
        if recorded != sha256:
            raise RecordError(
                f"{self.path} was begun on other data: their SHA-256 is {recorded}, "
                f"that of these is {sha256}. Bring those back; or choose another "
                "--run-dir, or train with --force to start over."
            )

    def begin(self, revision: str | None, *, anew: bool) -> None:
        """Note when a run is begun, and each revision of the source that trains it.

        Its first start stays. Of an earlier record that had none noted and goes on,
        neither ``anew``, both are unknown: None.
        """
        config = read_json(self.config_file)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        unknown = {
            "started": now if anew else None,
            "revisions": [] if anew else [None],
        }
        begun = config.get(_BEGUN, unknown)
        if revision not in begun["revisions"]:
            begun["revisions"].append(revision)
        write_json(self.config_file, config | {_BEGUN: begun})

    def begun(self) -> dict[str, Any]:
        """``started``, in UTC, and ``revisions``, as far as they were noted."""
        return read_json(self.config_file).get(_BEGUN, {})

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
        self,
        columns: Sequence[str],
        row: Mapping[str, Any],
        seconds: float,
        compiling: float = 0.0,
    ) -> None:
        """Add a row to the metrics, and its times; on disk on return.

        Raises:
          RecordError: the row has other columns; nothing is written.
        """
        if set(columns) != row.keys():
            raise RecordError(
                f"a row of {self.metrics_file} must have the columns "
                f"{', '.join(columns)}; missing {_only(columns, row)}, more "
                f"{_only(row, columns)}."
            )
        append_row(self.metrics_file, columns, [_text(row[name]) for name in columns])
        times = dict(
            step=str(row["step"]),
            seconds=f"{seconds:.3f}",
            compile_seconds=f"{compiling:.3f}",
        )
        there = header(self.timing_file) or list(times)  # earlier records have two
        append_row(self.timing_file, there, [times[name] for name in there])

    def append_projections(self, projections: np.ndarray) -> None:
        """Add the projections of some steps, ``[steps, K]``; on disk on return."""
        path = self.projections_file
        with naming(path), path.open("ab") as file:
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

    def compile_seconds(self) -> float:
        """Those of them that went into compilation, as far as they were noted."""
        return float(read_table(self.timing_file).get("compile_seconds", [0.0])[-1])

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
        for name in ("about_task", _DATA, _BEGUN):
            config.pop(name, None)
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
    """All run directories below ``root``, by path; those behind links too.

    A directory is found once, under its own name if that is below ``root``.
    """
    found, seen, starts = [], set(), [str(root)]
    for start in starts:
        for folder, names, files in os.walk(start):
            if (place := os.path.realpath(folder)) in seen:
                names.clear()
                continue
            seen.add(place)
            below = (os.path.join(folder, name) for name in names)
            starts += filter(os.path.islink, below)  # after all else
            if "config.json" in files:
                found.append(Path(folder))
    return [run for run in map(RunDirectory, sorted(found)) if run.is_run()]


def _differences(recorded: Mapping[str, Any], settings: Settings) -> str:
    """What keeps a run from going on, as ``name: old → new, …``; nothing if nothing."""
    return ", ".join(
        f"{name}: {old} → {new}"
        for name, old, new in changes(recorded, settings)
        if name != "steps" or new < old
    )


def _text(value: Any) -> str:
    """A number as other programs read it: Polars takes "nan" for a word."""
    # str(np.float32) has the fewest digits that give the same float32.
    return str(value) if value == value else "NaN"


def _only(names: Iterable[str], others: Iterable[str]) -> str:
    """The names that are not among the others."""
    return ", ".join(sorted(set(names) - set(others))) or "none"
