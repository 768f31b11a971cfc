"""What a report says, from the records alone: a dict that is the page's JSON.

The figures are those of ``lanes.parquet`` and of ``show``: from the same functions.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from experiments.pictures.report.colours import MOST_COLOURS, colourings
from experiments.pictures.report.curves import curves
from experiments.pictures.report.provenance import provenance
from experiments.pictures.sweep import MOST_CURVES, axes_of_map, survival_curve
from experiments.records.run import RunDirectory
from experiments.records.status import UNFINISHED
from experiments.results.milestones import (
    LOWEST_LOSS_STEP,
    OTHER_WORDS,
    TARGET,
    is_time,
)
from experiments.results.numbers import short
from experiments.results.table import (
    by_setting,
    label,
    milestone_of,
    name_in_words,
    swept,
    table,
    words_of,
)
from experiments.settings.milestone import TaskFacts

_WORDS = {LOWEST_LOSS_STEP: "step of the lowest validation loss"}


def contents(runs: Mapping[str, RunDirectory]) -> dict[str, Any]:
    """Settings, results, curves and provenance of some runs, by their names."""
    records = list(runs.values())
    states = [str(run.status()) for run in records]
    frame = table(records).with_columns(pl.Series("status", states))
    settings = frame.columns[1 : frame.columns.index("status")]
    rows = frame.select(settings).rows(named=True)
    names, facts = swept(frame), [run.facts() for run in records]
    seeds = ["seed"] * (frame["seed"].n_unique() > 1)
    differing = [n for n in settings if n in (*names, *seeds)]
    milestones = _milestones(frame, facts)
    finals = [name for name in frame.columns if _is_final(name, frame)]
    columns = [each["name"] for each in milestones] + finals
    asked = [_asked(rows[i], facts[i], milestones) for i in range(len(records))]
    places, described = _settings(frame, names, milestones, asked)
    ways = colourings(rows, names)
    summaries = [run.summary() for run in records if run.summary_file.exists()]
    return {
        "runs": [
            {
                "name": name,
                "setting": places[i],
                "values": [row[n] for n in differing],
                "state": row["status"],
                "steps": row["steps_trained"],
                "budget": row["steps"],
                "diverged": row["diverged_at_step"],
                "seconds": row["seconds"],
                "results": [row[n] for n in columns],
                "asked": asked[i],
                "started": records[i].begun().get("started"),
                "sha256": row["parameters_sha256"],
            }
            for i, (name, row) in enumerate(
                zip(runs, frame.rows(named=True), strict=True)
            )
        ],
        "settings": [
            {"name": n, "words": name_in_words(n), "values": _values(frame[n])}
            for n in differing
        ],
        "axes": [differing.index(n) for n in names],
        "map_axes": [differing.index(n) for n in _map_axes(frame, names)],
        "same": [
            {"name": n, "what": name_in_words(n), "value": short(rows[0][n])}
            for n in settings
            if n not in differing and frame[n].n_unique() == 1
        ],
        "results": milestones
        + [{"name": n, "words": n.replace("_", " "), "is_time": False} for n in finals],
        "milestone": milestone_of(frame, facts[0]),
        "by_setting": described,
        "most_curves": MOST_CURVES,
        "colourings": ways,
        "colour": "" if len(ways[""]["labels"]) <= MOST_COLOURS else names[0],
        "unfinished": [str(state) for state in UNFINISHED],
        "curves": curves(records),
        "provenance": provenance(summaries),
        "without_summary": len(records) - len(summaries),
    }


def _map_axes(frame: pl.DataFrame, names: Sequence[str]) -> Sequence[str]:
    """Which two settings the heat map has first: those that fill the most cells.

    Of several such pairs, the two numbers of the sweep's picture. Two settings that
    always go together fill no more cells than one of them.
    """
    usual, _ = axes_of_map(names, frame.select(names).rows(named=True))
    pairs = [*[usual] * bool(usual), *itertools.combinations(names, 2)]
    cells = [frame.select(pair).n_unique() for pair in pairs]
    return pairs[int(np.argmax(cells))] if pairs else names


def _values(column: pl.Series) -> list[Any]:
    """The different values, numbers in order, then texts, then none."""
    known = [value for value in column.unique() if value is not None]
    is_text = [isinstance(value, (str, bool)) for value in known]
    keys = [(t, str(v) if t else v) for t, v in zip(is_text, known, strict=True)]
    ordered = [v for _, v in sorted(zip(keys, known, strict=True))]
    return ordered + [None] * bool(column.null_count())


def _is_final(name: str, frame: pl.DataFrame) -> bool:
    """Accuracies, losses and the norm of all weights; not that of every block."""
    wanted = ("accuracy", "loss", "weight_norm")
    return name.startswith("final_") and name.endswith(wanted)


def _milestones(
    frame: pl.DataFrame, facts: Sequence[TaskFacts]
) -> list[dict[str, Any]]:
    """The results that have words, as far as some run has them."""
    words: dict[str, str] = {}
    for each in dict.fromkeys(facts):
        words |= {m.name: words_of(m.name, frame, each) for m in each.milestones}
    words |= {n: words_of(n, frame, facts[0]) for n in OTHER_WORDS} | _WORDS
    return [
        {"name": name, "words": text, "is_time": is_time(name)}
        for name, text in words.items()
        if name in frame.columns
    ]


def _asked(
    settings: Mapping[str, Any],
    facts: TaskFacts,
    milestones: Sequence[Mapping[str, Any]],
) -> list[str]:
    """Which milestones a run is asked for: of others it cannot be said "never"."""
    names = {milestone.name for milestone in facts.milestones} | OTHER_WORDS.keys()
    if settings["stop_at"] is None:
        names -= {TARGET}
    return [each["name"] for each in milestones if each["name"] in names]


def _settings(
    frame: pl.DataFrame,
    names: Sequence[str],
    milestones: Sequence[dict[str, Any]],
    asked: Sequence[Sequence[str]],
) -> tuple[list[int], dict[str, list[dict[str, Any]]]]:
    """Of every run the place of its setting; what the seeds gave, by milestone."""
    keys = list(frame.select(names).rows()) if names else [()] * len(frame)
    place = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    places = [place[key] for key in keys]
    numbered = frame.with_columns(pl.Series("setting", places))
    groups = numbered.partition_by("setting", as_dict=True, maintain_order=True)
    found: dict[str, list[dict[str, Any]]] = {}
    for milestone in milestones:
        if (name := milestone["name"]) == LOWEST_LOSS_STEP:
            continue
        asking = {places[i] for i, of_run in enumerate(asked) if name in of_run}
        found[name] = [
            _described(row, names, place, groups, milestone)
            for row in by_setting(frame, name)
            if place[tuple(row[n] for n in names)] in asking
        ]
    return places, found


def _described(
    row: Mapping[str, Any],
    names: Sequence[str],
    place: Mapping[tuple[Any, ...], int],
    groups: Mapping[Any, pl.DataFrame],
    milestone: Mapping[str, Any],
) -> dict[str, Any]:
    number = place[tuple(row[name] for name in names)]
    lanes = groups[(number,)]
    begun = lanes.filter(pl.col("steps_trained") > 0)
    known = [value for value in row["values"] if value is not None]
    described = {
        "setting": number,
        "label": label(row, names) or "all seeds",
        "axes": [row[name] for name in names],
        "runs": row["lanes"],
        "diverged": row["diverged"],
        "unfinished": row["unfinished"],
        "reached": row["reached"],
        "finished": len(row["values"]),
        "median": row["median"],
        "least": min(known, default=None),
        "largest": max(known, default=None) if None not in row["values"] else None,
        "final": row["final"],
        "survival": None,
    }
    if milestone["is_time"] and len(begun):
        steps, fractions = survival_curve(begun, milestone["name"])
        got_there = int(begun[milestone["name"]].count())
        described["survival"] = {
            "steps": steps,
            "fractions": fractions,
            "reached": got_there,
            "runs": len(begun),
        }
    return described
