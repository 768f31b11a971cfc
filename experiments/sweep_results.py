"""What a sweep found: a table with a row a lane, and what the seeds of a setting say.

Everything is read from the lanes' records. A milestone that was not reached is null,
right-censored at ``steps_trained``: statistics count it and never average it.
"""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from experiments.options import WITHOUT_EFFECT
from experiments.over_seeds import Time, median, order
from experiments.records import INTERRUPTED, RecordError, RunDirectory
from experiments.tasks import TASKS
from experiments.whole_file import write_whole

NOT_STARTED = "not started"


class SweepDirectory:
    """The files of a sweep.

    ``sweep.json`` tells which lanes belong to it; ``lanes/`` holds a run directory for
    each; ``lanes.parquet`` is the table; the pictures are ``curves.png``,
    ``survival.png`` and ``heat_map.png``.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self.plan_file = self.path / "sweep.json"
        self.table_file = self.path / "lanes.parquet"

    def write_plan(self, lanes: Sequence[RunDirectory], command: str) -> None:
        """Write which lanes belong to the sweep."""
        self.path.mkdir(parents=True, exist_ok=True)
        plan = {"command": command, "lanes": [run.path.name for run in lanes]}
        write_whole(self.plan_file, f"{json.dumps(plan, indent=2)}\n".encode())

    def lanes(self) -> list[RunDirectory]:
        """The lanes' run directories, as far as they are there yet.

        Raises:
          RecordError: this is no sweep, or none of its lanes is there.
        """
        if not self.plan_file.exists():
            raise RecordError(f"{self.path} holds no sweep: no sweep.json.")
        names = json.loads(self.plan_file.read_text())["lanes"]
        lanes = [RunDirectory(self.path / "lanes" / name) for name in names]
        lanes = [lane for lane in lanes if lane.config_file.exists()]
        if not lanes:
            raise RecordError(f"{self.path} has no lane yet.")
        return lanes

    def write_table(self) -> pl.DataFrame:
        """Write ``lanes.parquet`` from the lanes' records."""
        frame = table(self.lanes())
        contents = io.BytesIO()
        frame.write_parquet(contents)
        write_whole(self.table_file, contents.getvalue())
        return frame


def table(lanes: Sequence[RunDirectory]) -> pl.DataFrame:
    """A row a lane.

    Columns: ``lane``, the name of its directory; all settings, ``steps`` the budget;
    ``status``; ``steps_trained``; ``diverged_at_step``; the milestones; ``final_…``,
    the metrics at the last evaluation; ``seconds``, its share of the machine's time;
    ``parameters_sha256``.
    """
    return pl.DataFrame([_row(lane) for lane in lanes], infer_schema_length=None)


def _row(lane: RunDirectory) -> dict[str, Any]:
    row = {"lane": lane.path.name, **lane.config()}
    if not lane.summary_file.exists():
        metrics = lane.metrics()
        trained = int(metrics["step"][-1]) if metrics else 0
        status = INTERRUPTED if metrics else NOT_STARTED
        return row | {"status": status, "steps_trained": trained}
    summary = lane.summary()
    final = {f"final_{name}": v for name, v in summary["final"].items()}
    del final["final_step"]
    return {
        **row,
        "status": summary["status"],
        "steps_trained": summary["steps"],
        "diverged_at_step": summary["diverged_at_step"],
        **summary["milestones"],
        **final,
        "seconds": summary["seconds"],
        "parameters_sha256": summary["parameters_sha256"],
    }


def milestone_of(frame: pl.DataFrame) -> str:
    """The milestone that lanes of this task are compared by."""
    return TASKS[frame["task"][0]].milestone


def is_time(milestone: str) -> bool:
    """Whether a milestone is a number of steps, which may not have been reached."""
    return milestone.startswith("t_")


def swept(frame: pl.DataFrame) -> list[str]:
    """Settings in which lanes differ, but for the seed."""
    settings = frame.columns[1 : frame.columns.index("status")]
    return [n for n in settings if n != "seed" and frame[n].n_unique() > 1]


def matters(row: Mapping[str, Any], name: str) -> bool:
    """Whether a swept setting has an effect beside a row's others."""
    switch, values = WITHOUT_EFFECT.get(name, ("", ()))
    return switch not in row or row[switch] in values


def label(row: Mapping[str, Any], names: Sequence[str]) -> str:
    """The settings of these names that matter, in words."""
    return ", ".join(f"{n} {short(row[n])}" for n in names if matters(row, n))


def short(value: Any) -> str:
    """A value in few characters."""
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
    return str(value)


def over_seeds(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """What the seeds of each setting gave, best first.

    Each is a dict of the ``swept`` settings and

    * ``lanes``, ``diverged``, ``unfinished``: how many; those unfinished are in nothing
      else;
    * ``values``: the milestone of each lane, None where it was not reached;
    * ``reached``: how many are not None;
    * ``median``: their median; None, never reached, is larger than everything;
    * ``final``: median accuracy (loss, if there is none) at the end.
    """
    milestone, names = milestone_of(frame), swept(frame)
    groups = frame.partition_by(names, maintain_order=True) if names else [frame]
    return sorted((_over_seeds(g, names, milestone) for g in groups), key=_rank)


def _over_seeds(
    group: pl.DataFrame, names: Sequence[str], milestone: str
) -> dict[str, Any]:
    is_done = ~pl.col("status").is_in([INTERRUPTED, NOT_STARTED])
    done = group.filter(is_done)
    values: list[Time] = done[milestone].to_list() if milestone in done.columns else []
    final = "final_validation_accuracy"
    if final not in done.columns:
        final = "final_validation_loss"
    finals = done[final].drop_nulls() if final in done.columns else pl.Series([])
    return {
        **{name: group[name][0] for name in names},
        "lanes": len(group),
        "diverged": int((group["status"] == "diverged").sum()),
        "unfinished": len(group) - len(done),
        "values": values,
        "reached": sum(value is not None for value in values),
        "median": median(values) if values else None,
        "final": finals.median() if len(finals) else None,
    }


def _rank(row: Mapping[str, Any]) -> tuple[float, float, float]:
    """Sooner (or lower) first; then more often; then better at the end."""
    final = row["final"] if row["final"] is not None else float("nan")
    return order(row["median"]), -row["reached"], -final
