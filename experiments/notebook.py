"""Runs and sweeps from Python, with a progress bar; see :mod:`experiments`."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from matplotlib.figure import Figure

from experiments.files import expanded
from experiments.methods.named import (
    TABLES,
    did_you_mean,
    every_setting,
    idle,
    in_effect,
)
from experiments.pictures.curves import figure_of
from experiments.pictures.sweep import survival
from experiments.records.run import RecordError, RunDirectory, place_of
from experiments.records.sweep import SweepDirectory
from experiments.results.milestones import milestones
from experiments.results.table import by_setting, milestone_of, table, words_of
from experiments.settings.axes import combinations, options_of
from experiments.settings.config import Settings
from experiments.settings.files import Files
from experiments.settings.flat import sweep_name
from experiments.settings.task import Task
from experiments.studies.runs import train_lanes, train_run
from experiments.tasks import TASKS


class Run:
    """A recorded run.

    Args:
      path: its directory.

    Raises:
      RecordError: it holds no run.
    """

    def __init__(self, path: str | Path):
        self._record = RunDirectory(expanded(path))
        if not self._record.is_run():
            raise RecordError(f"{path} holds no run: no config.json of one.")

    def __repr__(self) -> str:
        return f"<Run {self.path}: {self.status}>"

    @property
    def path(self) -> Path:
        """Its directory."""
        return self._record.path

    @property
    def status(self) -> str:
        """Such as "completed", "diverged" or "interrupted"."""
        return str(self._record.status())

    @property
    def settings(self) -> dict[str, Any]:
        """Its settings, as far as they have an effect, by name."""
        return in_effect(self._record.config())

    @property
    def metrics(self) -> pl.DataFrame:
        """A row an evaluation: ``step``, losses, accuracies, norms and so on."""
        return pl.DataFrame(self._record.metrics())

    @property
    def milestones(self) -> dict[str, Any]:
        """Steps to fit and to generalise, None where that did not happen."""
        return milestones(self._record.metrics(), self._record.facts().milestones)

    @property
    def summary(self) -> dict[str, Any]:
        """``summary.json``: time, memory, versions; empty while it trains."""
        there = self._record.summary_file.exists()
        return self._record.summary() if there else {}

    def plot(self) -> Figure:
        """Accuracy, loss and weight norm against steps."""
        return figure_of({self.path.name: self._record}, self.path.name)


class Sweep:
    """A recorded sweep.

    Args:
      path: its directory.
    """

    def __init__(self, path: str | Path):
        self._record = SweepDirectory(expanded(path))

    def __repr__(self) -> str:
        return f"<Sweep {self.path}: {len(self.lanes)} lanes>"

    @property
    def path(self) -> Path:
        """Its directory."""
        return self._record.path

    @property
    def lanes(self) -> list[Run]:
        """Its runs."""
        return [Run(lane.path) for lane in self._record.lanes()]

    @property
    def table(self) -> pl.DataFrame:
        """A row a lane; see :func:`experiments.results.table.table`."""
        return table(self._record.lanes())

    @property
    def by_setting(self) -> pl.DataFrame:
        """What the seeds of each setting gave, best first."""
        frame, facts = self.table, self._record.lanes()[0].facts()
        return pl.DataFrame(by_setting(frame, milestone_of(frame, facts)))

    def survival(self) -> Figure | None:
        """Fraction of seeds that have not got there yet, against steps.

        None if the task has no milestone that is a step.
        """
        frame, facts = self.table, self._record.lanes()[0].facts()
        milestone = milestone_of(frame, facts)
        return survival(frame, milestone, words_of(milestone, frame, facts))


def load(path: str | Path) -> Run | Sweep:
    """A recorded run, or sweep.

    Raises:
      RecordError: the directory holds neither.
    """
    is_sweep = SweepDirectory(expanded(path)).plan_file.exists()
    return Sweep(path) if is_sweep else Run(path)


def train(
    task: str,
    *,
    run_dir: Path | str | None = None,
    force: bool = False,
    progress: bool = True,
    data_dir: Path | None = None,
    download: bool = False,
    **settings: Any,
) -> Run:
    """Train one run, or go on with it; a finished one is not trained again.

    Args:
      task: name of the task, such as "modular".
      run_dir: where to record; by default ``runs/``, named after the settings.
      force: start over, removing the record that is there.
      progress: whether to show it.
      data_dir: directory of the data sets.
      download: fetch files that are missing.
      **settings: options of the task, the filter, the optimizer and the training.

    Returns:
      Its record. Interrupted (Ctrl-C, or the notebook's button), it is saved, and the
      same call goes on.

    Raises:
      TypeError: no such option, or a value of another type.
      ValueError: a value out of its range; data or a record that cannot serve.
    """
    for name, value in settings.items():
        if isinstance(value, (list, tuple, range)):
            raise TypeError(f"{name} must be one value, got {value!r}: see sweep.")
    if "seeds" in settings:
        raise TypeError("seeds is an argument of sweep; train takes one seed.")
    (wanted,) = _settings(task, [settings])
    run = RunDirectory(expanded(run_dir)) if run_dir else place_of(Path("runs"), wanted)
    train_run(
        wanted,
        run,
        files=Files(data_dir, download),
        force=force,
        silent=not progress,
        arguments=_arguments("train", task, settings),
    )
    return Run(run.path)


def sweep(
    task: str,
    *,
    seeds: int | None = None,
    zipped: bool = False,
    samples: int | None = None,
    sample_seed: int = 0,
    way: str | None = None,
    run_dir: Path | str | None = None,
    force: bool = False,
    progress: bool = True,
    data_dir: Path | None = None,
    download: bool = False,
    **settings: Any,
) -> Sweep:
    """Train every combination of lists of settings; see :func:`train`.

    Args:
      task: name of the task.
      seeds: so many, from ``seed`` on, crossed with everything else.
      zipped: pair the lists instead of crossing them.
      samples: how many times to draw from ranges, texts such as ``"1e-4:1e-2:log"``.
      sample_seed: seed of the draws.
      way: "placed", "vmap" or "map"; by default the faster one here.
      run_dir: where to record; by default ``runs/``, named after the settings.
      force: start all lanes over.
      progress: whether to show it.
      data_dir: directory of the data sets.
      download: fetch files that are missing.
      **settings: values, lists of values or ranges, by name.
    """
    rows = combinations(
        options_of(settings, seeds),
        zipped=zipped,
        samples=samples,
        sample_seed=sample_seed,
    )
    wanted = _settings(task, rows)
    place = expanded(run_dir or Path("runs") / sweep_name(wanted))
    train_lanes(
        place,
        wanted,
        files=Files(data_dir, download),
        way=way,
        force=force,
        silent=not progress,
        arguments=_arguments("sweep", task, settings | {"seeds": seeds}),
    )
    found = Sweep(place)
    SweepDirectory(place).write_table(found.table)
    return found


def _settings(task: str, rows: Sequence[Mapping[str, Any]]) -> list[Settings]:
    if task not in TASKS:
        known = ", ".join(TASKS)
        raise ValueError(
            f"task must be one of {known}, got {task!r}.{did_you_mean(task, TASKS)}"
        )
    cls: type[Task] = TASKS[task]
    rows = [{n: v for n, v in row.items() if v is not None} for row in rows]
    found = every_setting(cls, rows)
    given: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in row.items():
            given.setdefault(name, []).append(value)
    own = {n: v for n, v in given.items() if n not in (*TABLES, "stop_at")}
    for text in idle(own, found):
        warnings.warn(text.replace("--", ""), stacklevel=3)
    return found


def _arguments(verb: str, task: str, settings: Mapping[str, Any]) -> list[str]:
    """The command line of a call, for the record."""
    words = [verb, task]
    for name, value in settings.items():
        if value is not None:
            values = value if isinstance(value, (list, tuple)) else [value]
            words += [f"--{name.replace('_', '-')}", ",".join(map(str, values))]
    return words
