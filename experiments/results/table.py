"""What a sweep found: a table with a row a lane, and what the seeds of a setting say.

Everything is read from the lanes' records. A milestone that was not reached is null,
right-censored at ``steps_trained``: statistics count it and never average it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from experiments.methods.named import in_effect
from experiments.records.run import RunDirectory
from experiments.records.status import UNFINISHED, Status
from experiments.results.milestones import OTHER_WORDS, TARGET, results_of
from experiments.results.numbers import short
from experiments.results.over_seeds import Time, median, rank
from experiments.settings.milestone import TaskFacts
from experiments.settings.target import Target


def table(lanes: Sequence[RunDirectory]) -> pl.DataFrame:
    """A row a lane.

    Columns: ``lane``, the name of its directory; all settings that have an effect in
    any lane, null in those where they have none, ``steps`` the budget; ``status``;
    ``steps_trained``; ``diverged_at_step``; the milestones; ``final_…``, the metrics at
    the last evaluation; ``seconds``, wall time, of lanes in one program a share of it;
    ``parameters_sha256``. With a target there is ``t_target`` too, the first step that
    met it. Lanes that are under way have rows as far as they are.
    """
    rows = [_row(lane) for lane in lanes]
    # The settings first, whichever lane has them.
    names = dict.fromkeys(name for settings, _ in rows for name in settings)
    fullest = sorted((found for _, found in rows), key=len, reverse=True)
    names |= dict.fromkeys(name for found in fullest for name in found)
    every = [{name: (a | b).get(name) for name in names} for a, b in rows]
    return pl.DataFrame(every, infer_schema_length=None)


def _row(lane: RunDirectory) -> tuple[dict[str, Any], dict[str, Any]]:
    """Its name and settings; what was found."""
    config, metrics = in_effect(lane.config()), lane.metrics()
    summary = lane.summary() if lane.summary_file.exists() else {}
    stopped = Status.INTERRUPTED if metrics else Status.NOT_STARTED
    final = {name: _finite(column[-1].item()) for name, column in metrics.items()}
    steps = final.pop("step", 0)
    found = results_of(metrics, config, lane.facts())
    return {"lane": lane.path.name, **config}, {
        "status": str(summary.get("status", stopped)),
        "steps_trained": steps,
        "diverged_at_step": summary.get("diverged_at_step"),
        **found,
        **{f"final_{name}": value for name, value in final.items()},
        "seconds": lane.seconds(),
        "parameters_sha256": summary.get("parameters_sha256"),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def milestone_of(frame: pl.DataFrame, facts: TaskFacts) -> str:
    """The milestone that lanes are compared by: their target, or the task's own."""
    return TARGET if TARGET in frame.columns else facts.milestone


def swept(frame: pl.DataFrame) -> list[str]:
    """Settings in which lanes differ, but for the seed.

    A setting with one value, which has no effect in some of the lanes, is among them
    only if the others do not tell where.
    """
    settings = frame.columns[1 : frame.columns.index("status")]
    rows = frame.select(settings).rows(named=True)
    return telling(rows, [name for name in settings if name != "seed"])


def telling(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """Which of some settings tell the rows apart; None where it has no effect.

    Example:
      >>> rows = [{"filter": "none"}, {"filter": "ema", "alpha": 0.9, "lamb": 2.0}]
      >>> telling(rows, ["filter", "alpha", "lamb"])
      ['filter']
    """
    values = {name: {row.get(name) for row in rows} for name in names}
    chosen = [name for name in names if len(values[name] - {None}) > 1]
    for name in names:
        if name not in chosen and len(values[name]) > 1:
            parts = {tuple(row.get(n) for n in (*chosen, name)) for row in rows}
            if len(parts) > len({part[:-1] for part in parts}):
                chosen.append(name)
    return [name for name in names if name in chosen]


def name_in_words(setting: str) -> str:
    """What a setting is called on a picture.

    Example:
      >>> name_in_words("weight_decay"), name_in_words("lamb")
      ('weight decay', 'λ')
    """
    return {"alpha": "α", "lamb": "λ"}.get(setting, setting.replace("_", " "))


def label(row: Mapping[str, Any], names: Sequence[str]) -> str:
    """The settings of these names that have an effect, in words.

    Example:
      >>> label({"alpha": 0.9, "stop_at": "validation_loss<=0.5"}, ["alpha", "stop_at"])
      'α 0.9, stop at validation loss ≤ 0.5'
    """
    there = [n for n in names if row.get(n) is not None]
    if names and not there:
        return f"without {', '.join(map(name_in_words, names))}"
    return ", ".join(
        f"{name_in_words(n)} {_target(row[n]) if n == 'stop_at' else short(row[n])}"
        for n in there
    )


def _target(stop_at: float | str) -> str:
    """Where a run stops, in words."""
    if isinstance(stop_at, float):
        return short(stop_at)
    return Target.parse(stop_at).words()


def words_of(milestone: str, frame: pl.DataFrame, facts: TaskFacts) -> str:
    """What the lanes are compared by, in words: ``steps to …``."""
    if milestone == TARGET:
        targets = frame["stop_at"].drop_nulls().unique()
        if len(targets) == 1:
            return f"steps to {Target.parse(str(targets[0])).words()}"
        return "steps to the target"
    words = {m.name: m.words for m in facts.milestones} | OTHER_WORDS
    return words.get(milestone, milestone.replace("_", " "))


def by_setting(frame: pl.DataFrame, milestone: str) -> list[dict[str, Any]]:
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
    names = swept(frame)
    groups = frame.partition_by(names, maintain_order=True) if names else [frame]
    final = "final_validation_accuracy"
    is_accuracy = final in frame.columns
    if not is_accuracy:
        final = "final_validation_loss"
    rows = [_of_setting(group, names, milestone, final) for group in groups]

    def key(row: Mapping[str, Any]) -> tuple[float, ...]:
        sign = -1 if is_accuracy else 1
        worst = math.inf if row["final"] is None else sign * row["final"]
        return (*rank(row["values"]), worst)

    return sorted(rows, key=key)


def _of_setting(
    group: pl.DataFrame, names: Sequence[str], milestone: str, final: str
) -> dict[str, Any]:
    done = group.filter(~pl.col("status").is_in(UNFINISHED))
    values: list[Time] = done[milestone].to_list() if milestone in done.columns else []
    whole = done.filter(pl.col("status") != Status.DIVERGED)
    finals = whole[final].drop_nulls() if final in done.columns else pl.Series([])
    return {
        **{name: group[name][0] for name in names},
        "lanes": len(group),
        "diverged": int((group["status"] == Status.DIVERGED).sum()),
        "unfinished": len(group) - len(done),
        "values": values,
        "reached": sum(value is not None for value in values),
        "median": median(values) if values else None,
        "final": finals.median() if len(finals) else None,
    }
