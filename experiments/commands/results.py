"""The results of a sweep: table and pictures from the records, and what seeds say."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from experiments.files import json_text
from experiments.pictures.sweep import plot_sweep
from experiments.records.sweep import SweepDirectory
from experiments.results.numbers import short
from experiments.results.table import by_setting, is_time, milestone_of, swept, table
from experiments.screen import console

_ROWS = 20


def show_sweep(directory: SweepDirectory, as_json: bool) -> pl.DataFrame:
    """Write table and pictures from the records, and print what the seeds say."""
    lanes = directory.lanes()
    frame = table(lanes)
    directory.write_table(frame)
    milestone = milestone_of(frame, lanes[0].facts())
    pictures = plot_sweep(directory.path, frame, milestone)
    rows = by_setting(frame, milestone)
    if as_json:
        counts = dict(frame["status"].value_counts().iter_rows())
        found = {"sweep": str(directory.path), "lanes": len(frame), "status": counts}
        print(json_text(found | {"milestone": milestone, "settings": rows}))
        return frame
    _print_settings(frame, rows, milestone)
    for status, count in sorted(frame["status"].value_counts().iter_rows()):
        print(f"{count:5} {status}")
    if "seconds" in frame.columns:
        print(f"{frame['seconds'].sum() or 0:,.0f} seconds, summed over the lanes")
    print("wrote", ", ".join(map(str, [directory.table_file, *pictures])))
    return frame


def _print_settings(
    frame: pl.DataFrame, rows: list[dict[str, Any]], milestone: str
) -> None:
    names, timed = swept(frame), is_time(milestone)
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
    console.print_table(
        f"{len(frame)} lanes of {frame['task'][0]}, {count}: {milestone}",
        [*columns, *(["unfinished"] if unfinished else [])],
        cells,
    )


def _times(row: Mapping[str, Any]) -> list[str | None]:
    """Median and range of the milestone; None before any lane is over."""
    values = row["values"]
    if not values:
        return [None, None]
    known = [value for value in values if value is not None]
    median = "never" if row["median"] is None else short(row["median"])
    if not known:
        return [median, None]
    largest = short(max(known)) if len(known) == len(values) else "never"
    return [median, f"{short(min(known))} – {largest}"]
