"""What ``list`` tells: a line a run, or a line a sweep; which of them, in which order.

A run is described by a dict: ``run``, its path; ``config``, the settings that have an
effect; ``state``; ``steps``, those trained; ``milestone``, the name of the result that
it is compared by; ``milestones``; ``final``, the metrics at the last evaluation. A
sweep has the same keys: a setting in which lanes differ is the list of its values,
``steps`` are the most of any lane, results are medians over the lanes, in which never
is larger than everything.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.methods.named import did_you_mean, in_effect
from experiments.records.run import RunDirectory, find_runs
from experiments.records.status import UNFINISHED, Status
from experiments.records.sweep import SweepDirectory
from experiments.results.conditions import Condition
from experiments.results.milestones import compared_by, is_time, results_of
from experiments.results.numbers import short
from experiments.results.over_seeds import median

Described = dict[str, Any]
COLUMNS = {
    "run": "run",
    "task": "task",
    "filter": "filter",
    "decay": "weight_decay",
    "seed": "seed",
    "state": "state",
    "lanes": "lanes",
    "over": "over",
    "reached": "reached",
    "steps": "steps",
    "fit 99": "t_fit_99",
    "gen 99": "t_gen_99",
}
"""Headings of the list, and the names of what stands under them."""
OF_SWEEPS = ("lanes", "over", "reached")
_MOST_VALUES = 3  # that a cell tells one by one
_SHORT_NAMES = {heading.replace(" ", "_"): name for heading, name in COLUMNS.items()}
_SHORT_NAMES["status"] = "state"


def describe(run: RunDirectory) -> Described:
    """Settings, state and results of a run, whatever its state."""
    metrics, config, facts = run.metrics(), run.config(), run.facts()
    return {
        "run": str(run.path),
        "config": in_effect(config),
        "state": str(run.status()),
        "steps": int(metrics["step"][-1]) if metrics else 0,
        "milestone": compared_by(config, facts),
        "milestones": results_of(metrics, config, facts),
        "final": {name: float(values[-1]) for name, values in metrics.items()},
    }


def describe_sweep(path: Path, lanes: Sequence[Described]) -> Described:
    """The same of some lanes of a sweep, and how many of them there are.

    ``lanes``: all; ``over``: those that need no more steps; ``reached``: those that got
    to what they are compared by, None if that is no step; ``status``: by their state.
    """
    states = [lane["state"] for lane in lanes]
    counts = {state: states.count(state) for state in dict.fromkeys(states)}
    compared = {lane["milestone"]: None for lane in lanes}
    timed = any(map(is_time, compared))
    return {
        "run": str(path),
        "config": {n: _together(n, lanes) for n in _names("config", lanes)},
        "state": _state(counts, RunDirectory(path).is_locked()),
        "steps": max(lane["steps"] for lane in lanes),
        "milestone": " or ".join(compared),
        "milestones": _medians("milestones", lanes),
        "final": _medians("final", lanes),
        "lanes": len(lanes),
        "over": sum(state not in UNFINISHED for state in states),
        "reached": sum(map(_got_there, lanes)) if timed else None,
        "status": counts,
    }


def _got_there(lane: Described) -> bool:
    return lane["milestones"].get(lane["milestone"]) is not None


def _names(part: str, lanes: Iterable[Described]) -> list[str]:
    return list(dict.fromkeys(name for lane in lanes for name in lane[part]))


def _together(name: str, lanes: Iterable[Described]) -> Any:
    """A setting of all lanes: its value, or the list of its values."""
    values = list(dict.fromkeys(lane["config"].get(name) for lane in lanes))
    return values[0] if len(values) == 1 else values


def _medians(part: str, lanes: Sequence[Described]) -> dict[str, float | None]:
    """Medians over the lanes that have these results at all."""
    found = {}
    for name in _names(part, lanes):
        values = [lane[part][name] for lane in lanes if name in lane[part]]
        is_known = [value is None or math.isfinite(value) for value in values]
        middle = median(values) if all(is_known) else None
        is_whole = is_time(name) and middle == round(middle or 0)
        found[name] = round(middle or 0) if is_whole else middle
    return found


def _state(counts: Mapping[str, int], is_locked: bool) -> str:
    """One word for the states of all lanes."""
    if is_locked or Status.RUNNING in counts:
        return str(Status.RUNNING)
    if len(counts) == 1:
        return next(iter(counts))
    if not any(state in UNFINISHED for state in counts):
        return str(Status.COMPLETED)
    return str(Status.KILLED if Status.KILLED in counts else Status.INTERRUPTED)


def describe_all(root: Path) -> list[Described]:
    """Every run below a directory, lanes too, by path."""
    return [describe(run) for run in find_runs(root)]


def chosen(
    runs: Sequence[Described], conditions: Sequence[Condition]
) -> list[Described]:
    """The runs that meet all conditions.

    Raises:
      ValueError: a condition on what no run has.
    """
    names = [resolved(condition.name, runs, "--filter") for condition in conditions]
    pairs = list(zip(names, conditions, strict=True))
    return [run for run in runs if all(_meets(run, *pair) for pair in pairs)]


def _meets(run: Described, name: str, condition: Condition) -> bool:
    if name == "run":
        return condition.holds(Path(run["run"]).name)
    held = [condition.holds(each) for each in (value(run, name), shown(run, name))]
    return all(held) if condition.sign == "!=" else any(held)


def shown(described: Described, name: str) -> Any:
    """What the list shows in a column: of a task what it computes too."""
    config = described["config"]
    if name == "task" and "operation" in config:
        return f"{in_few(config['task'])} {in_few(config['operation'])}"
    return value(described, name)


def in_few(values: Any) -> str:
    """A value, or a few, or how many there are."""
    if not isinstance(values, list):
        return str(values)
    known = [value for value in values if value is not None]
    if len(values) <= _MOST_VALUES:
        return ",".join("none" if v is None else short(v) for v in values)
    if all(isinstance(value, (int, float)) for value in known):
        return f"{short(min(known))}…{short(max(known))}"
    return f"{len(values)} values"


def together(root: Path, runs: Sequence[Described]) -> list[Described]:
    """The runs, but of each sweep below the root one dict for those of its lanes."""
    sweeps = _sweeps(root, runs)
    groups: dict[str, list[Described]] = {}
    for run in runs:
        path: str = run["run"]
        groups.setdefault(sweeps.get(path, path), []).append(run)
    return [
        members[0] if path == members[0]["run"] else describe_sweep(Path(path), members)
        for path, members in groups.items()
    ]


def _sweeps(root: Path, runs: Iterable[Described]) -> dict[str, str]:
    """Path of the sweep of each run that is a lane of one; the root is none here."""
    places = {Path(run["run"]).parent.parent for run in runs}
    sweeps: dict[str, str] = {}
    for place in places:
        sweep = SweepDirectory(place)
        if root in place.parents and sweep.plan_file.exists():
            sweeps |= {str(lane.path): str(place) for lane in sweep.lanes()}
    return sweeps


def resolved(name: str, found: Sequence[Described], flag: str) -> str:
    """The name of what a person calls so: a column's heading, or a name in full.

    Raises:
      ValueError: none of the runs has it; the message says what there is.
    """
    plain = name.strip().replace(" ", "_").replace("-", "_")
    plain = _SHORT_NAMES.get(plain, plain)
    settings, results = (
        [n for part in parts for n in _names(part, found)]
        for parts in (["config"], ["milestones", "final"])
    )
    columns = COLUMNS
    if flag == "--filter":  # of runs and lanes
        columns = {h: n for h, n in COLUMNS.items() if n not in OF_SWEEPS}
    known = {*columns.values(), *settings, *results}
    if plain in known or not found:
        return plain
    if plain in OF_SWEEPS and flag == "--filter":
        raise ValueError(
            f"--filter: {plain} is of a sweep; conditions are on the settings and "
            f"results of single runs and lanes, such as 'seed=0' (--sort {plain} is "
            "for sweeps)."
        )
    few = [n for n in results if not n.endswith("_sustained") and "norm_" not in n]
    raise ValueError(
        f"{flag}: no column {name!r} here.{did_you_mean(name, known | columns.keys())} "
        f"There are the columns {', '.join(columns)}; the settings "
        f"{', '.join(settings)}; the results {', '.join(few)}."
    )


def values_of(runs: Iterable[Described], name: str) -> list[Any]:
    """The different values in a column, in order; what has none is left out."""
    values = dict.fromkeys(value(run, name) for run in runs)
    keyed = [(key, v) for v in values if (key := _key(v)) is not None]
    return [v for _, v in sorted(keyed, key=lambda pair: pair[0])]


def value(described: Described, name: str) -> Any:
    """What stands in a column of a run, or of a sweep."""
    for values in (
        described,
        *(described[p] for p in ("config", "milestones", "final")),
    ):
        if name in values:
            return values[name]
    return None


def in_order(
    found: Sequence[Described], name: str, *, reverse: bool = False
) -> list[Described]:
    """By a column, numbers before texts; what has no value there comes last."""
    keyed = [(_key(value(each, name)), each) for each in found]
    there = [(key, each) for key, each in keyed if key is not None]
    there.sort(key=lambda pair: pair[0], reverse=reverse)
    return [each for _, each in there] + [each for key, each in keyed if key is None]


def _key(value: Any) -> tuple[bool, float, str] | None:
    """For sorting; of a sweep's several values the first in order counts."""
    if isinstance(value, list):
        return min((k for k in map(_key, value) if k is not None), default=None)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    is_text = not isinstance(value, (int, float))
    return is_text, 0.0 if is_text else value, str(value) if is_text else ""
