"""Which runs a report is of, and what it calls them."""

import collections
import os
from collections.abc import Sequence
from pathlib import Path

from experiments.records.run import RecordError, RunDirectory, find_runs
from experiments.records.sweep import SweepDirectory


def runs_of(paths: Sequence[Path]) -> dict[str, RunDirectory]:
    """The runs at some paths, each once, by the names that the report shows.

    Args:
      paths: of runs, of sweeps (their lanes, as far as they are there) or of
        directories that hold some. Where two have the same name they are told apart by
        their paths.

    Raises:
      RecordError: one of the paths holds no run.
    """
    found: dict[str, RunDirectory] = {}
    for path in paths:
        found |= {os.path.realpath(run.path): run for run in _runs_at(path)}
    runs = list(found.values())
    counts = collections.Counter(run.path.name for run in runs)
    return {
        run.path.name if counts[run.path.name] == 1 else str(run.path): run
        for run in runs
    }


def _runs_at(path: Path) -> list[RunDirectory]:
    if SweepDirectory(path).plan_file.exists():
        return SweepDirectory(path).lanes()
    if (run := RunDirectory(path)).config_file.exists() and run.is_run():
        return [run]
    if not (runs := find_runs(path)):
        raise RecordError(f"{path} holds no run and no sweep: nothing to report.")
    return runs
