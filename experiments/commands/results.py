"""The results of a sweep: table and pictures from the records, and what seeds say."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from experiments.files import json_text, where_allowed
from experiments.pictures.sweep import plot_sweep
from experiments.records.sweep import SweepDirectory
from experiments.results.milestones import is_time
from experiments.results.numbers import short
from experiments.results.table import by_setting, milestone_of, swept, table, words_of
from experiments.screen import console
from experiments.screen.fit import fitting, say_left_out

_ROWS = 20
_ORDER = ("median", "reached", "unfinished", "at the end", "range", "lanes")
"""Columns that stay where there is no room for all, after the settings."""


def show_sweep(directory: SweepDirectory, as_json: bool) -> pl.DataFrame:
    """Write table and pictures from the records, and print what the seeds say.

    In an archive, where nothing may be written, it is printed alone.
    """
    lanes = directory.lanes()
    frame = table(lanes)
    milestone = milestone_of(frame, lanes[0].facts())
    words = words_of(milestone, frame, lanes[0].facts())
    written: list[Path] = []
    with where_allowed():
        directory.write_table(frame)
        pictures = plot_sweep(directory.path, frame, milestone, words)
        written = [directory.table_file, *pictures]
    rows = by_setting(frame, milestone)
    if as_json:
        counts = dict(frame["status"].value_counts().iter_rows())
        found = {"sweep": str(directory.path), "lanes": len(frame), "status": counts}
        print(json_text(found | {"milestone": milestone, "settings": rows}))
        return frame
    _print_settings(frame, rows, words, is_time(milestone))
    for status, count in sorted(frame["status"].value_counts().iter_rows()):
        print(f"{count:5} {status}")
    compiling = sum(lane.compile_seconds() for lane in lanes)
    print(
        f"{frame['seconds'].sum() or 0:,.0f} seconds, summed over the lanes, "
        f"{compiling:,.0f} of them compiling"
    )
    if written:
        print("wrote", ", ".join(map(console.place, written)))
    return frame


def _print_settings(
    frame: pl.DataFrame, rows: list[dict[str, Any]], words: str, timed: bool
) -> None:
    names = swept(frame)
    columns = [*names, "lanes", *(["reached"] if timed else [])]
    columns += ["median", "range", "at the end"]
    unfinished = any(row["unfinished"] for row in rows)
    count = f"{len(rows)} setting{'s' * (len(rows) > 1)}"
    if len(rows) > _ROWS:
        count += f", the best {_ROWS}"
    cells = []
    for row in rows[:_ROWS]:
        reached = [f"{row['reached']} of {len(row['values'])}"] if timed else []
        own = [row[name] for name in names]
        last = [row["unfinished"]] if unfinished else []
        cells.append([*own, row["lanes"], *reached, *_times(row), row["final"], *last])
    columns += ["unfinished"] if unfinished else []
    order = [name for name in _ORDER if name in columns[len(names) :]]
    shown = fitting(columns, cells, order)
    console.print_table(
        f"{len(frame)} lanes of {frame['task'][0]}, {count}: {words}",
        [columns[i] for i in shown],
        [[row[i] for i in shown] for row in cells],
    )
    say_left_out(columns, shown)


def _times(row: Mapping[str, Any]) -> list[str | None]:
    """Median and range of the milestone; None before any lane is over."""
    values = row["values"]
    if not values:
        return [None, None]
    known = [float(value) for value in values if value is not None]
    median = "never" if row["median"] is None else short(float(row["median"]))
    if not known:
        return [median, None]
    largest = short(max(known)) if len(known) == len(values) else "never"
    return [median, f"{short(min(known))} – {largest}"]
