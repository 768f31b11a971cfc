"""What a sweep found: a table with a row a lane, and what the seeds of a setting say.

Everything is read from the lanes' records. A milestone that was not reached is null,
right-censored at ``steps_trained``: statistics count it and never average it.
"""

import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from experiments.commands.options import WITHOUT_EFFECT
from experiments.files import write_whole
from experiments.host.recorder import DIVERGED
from experiments.records.run import INTERRUPTED, RecordError, RunDirectory
from experiments.results.milestones import first_step, milestones
from experiments.results.over_seeds import Time, median, order
from experiments.tasks import TASKS, published_accuracy

NOT_STARTED = "not started"
TARGET = "t_target"


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
    the metrics at the last evaluation; ``seconds``, wall time, of lanes in one program
    a share of it; ``parameters_sha256``. With a target there is ``t_target`` too, the
    first step that met it. Lanes that are under way have rows as far as they are.
    """
    return pl.DataFrame([_row(lane) for lane in lanes], infer_schema_length=None)


def _row(lane: RunDirectory) -> dict[str, Any]:
    config, metrics = lane.config(), lane.metrics()
    summary = lane.summary() if lane.summary_file.exists() else {}
    status = summary.get("status", INTERRUPTED if metrics else NOT_STARTED)
    final = {name: _finite(column[-1].item()) for name, column in metrics.items()}
    found = milestones(metrics, published_accuracy(config))
    if metrics and config["stop_at"] is not None:
        accuracy = metrics["validation_accuracy"]
        found[TARGET] = first_step(metrics["step"], accuracy, config["stop_at"])
    return {
        "lane": lane.path.name,
        **config,
        "status": status,
        "steps_trained": final.pop("step", 0),
        "diverged_at_step": summary.get("diverged_at_step"),
        **found,
        **{f"final_{name}": value for name, value in final.items()},
        "seconds": lane.seconds(),
        "parameters_sha256": summary.get("parameters_sha256"),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def milestone_of(frame: pl.DataFrame) -> str:
    """The milestone that lanes are compared by: their target, or the task's own."""
    if TARGET in frame.columns:
        return TARGET
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
        return f"{value:,.0f}" if 1000 <= value < 1e6 else f"{value:.4g}"
    return str(value)


def by_setting(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """What the seeds of each setting gave, best first.

    Each is a dict of the ``swept`` settings and

    * ``lanes``, ``diverged``, ``unfinished``: how many; those unfinished are in nothing
      else, so that until all are finished the early ones speak;
    * ``values``: the milestone of each lane, None where it was not reached;
    * ``reached``: how many are not None;
    * ``median``: their median; None, never reached, is larger than everything;
    * ``final``: median accuracy (loss, if there is none) at the end of those that did
      not diverge.
    """
    milestone, names = milestone_of(frame), swept(frame)
    groups = frame.partition_by(names, maintain_order=True) if names else [frame]
    return sorted((_of_setting(g, names, milestone) for g in groups), key=_rank)


def _of_setting(
    group: pl.DataFrame, names: Sequence[str], milestone: str
) -> dict[str, Any]:
    is_done = ~pl.col("status").is_in([INTERRUPTED, NOT_STARTED])
    done = group.filter(is_done)
    values: list[Time] = done[milestone].to_list() if milestone in done.columns else []
    final = "final_validation_accuracy"
    if final not in done.columns:
        final = "final_validation_loss"
    whole = done.filter(pl.col("status") != DIVERGED)
    finals = whole[final].drop_nulls() if final in done.columns else pl.Series([])
    return {
        **{name: group[name][0] for name in names},
        "lanes": len(group),
        "diverged": int((group["status"] == DIVERGED).sum()),
        "unfinished": len(group) - len(done),
        "values": values,
        "reached": sum(value is not None for value in values),
        "median": median(values) if values else None,
        "final": finals.median() if len(finals) else None,
    }


def _rank(row: Mapping[str, Any]) -> tuple[float, float, float]:
    """Sooner (or lower) first; then more often; then more accurate at the end."""
    accuracy = -1.0 if row["final"] is None else row["final"]
    return order(row["median"]), -row["reached"], -accuracy
