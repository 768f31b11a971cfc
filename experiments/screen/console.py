"""Tables on the screen."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from experiments.records.run import FIRST_COLUMNS
from experiments.results.milestones import OTHER_WORDS
from experiments.results.numbers import short
from experiments.screen.outlet import name_shown, shown
from experiments.settings.milestone import Milestone


def size() -> dict[str, Any]:
    """What Rich does not make of ``COLUMNS``: 0 is unknown; dumb terminals have it."""
    columns = os.environ.get("COLUMNS", "")
    if not columns.isdigit():
        return {}
    size = {"width": int(columns) or shutil.get_terminal_size().columns}
    return size | ({"height": 25} if os.environ.get("TERM") == "dumb" else {})


# Names are names.
console = Console(highlight=False, markup=False, emoji=False, **size())


def is_screen() -> bool:
    """Whether bars can be drawn: no log, even if ``FORCE_COLOR`` asks for colours."""
    return console.is_jupyter or (console.is_terminal and console.file.isatty())


def print_table(
    title: str, header: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """A table, first column left, the others right; None is shown as a dash."""

    def text(value: Any) -> str:  # before it is laid out: substitutes may be longer
        if isinstance(value, Path):
            return place(value)
        return shown(short(value), console.encoding)

    table = Table(
        title=text(title),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for index, name in enumerate(header):
        if index == 0:  # long names of runs are folded, to be told apart
            longest = max((len(str(row[0])) for row in rows), default=0)
            table.add_column(text(name), overflow="fold", min_width=min(longest, 13))
        else:
            table.add_column(text(name), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*map(text, row))
    console.print(table)


def say(text: str) -> None:
    """A line of any length."""
    console.print(text, soft_wrap=True)


def place(path: str | Path) -> str:
    """A path as it can be shown."""
    return name_shown(path, console.encoding)


def print_summary(
    summary: dict[str, Any], milestones: Sequence[Milestone], path: Path
) -> None:
    """The summary of one run as a table."""
    final = summary["final"]
    rows = [["status", summary["status"]], ["steps", summary["steps"]]]
    if summary["diverged_at_step"] is not None:
        rows.append(["first non-finite loss at step", summary["diverged_at_step"]])
    rows += [[n.replace("_", " "), final[n]] for n in _FINAL if n in final]
    found, words = summary["milestones"], words_of(milestones)
    rows += [[words[name], found[name]] for name in words if name in found]
    rows += [
        ["seconds", summary["seconds"]],
        ["of these, compiling", summary.get("compile_seconds")],  # not in earlier ones
        ["ms per step (with evaluation)", summary["ms_per_step"]],
        ["peak memory (MiB)", summary["peak_memory_mib"]["process"]],
    ]
    print_table("Summary", ("", "value"), rows)
    say(f"Recorded in {place(path)}")


def words_of(milestones: Sequence[Milestone]) -> dict[str, str]:
    """What milestones, and what else a summary finds, are called in tables."""
    return {milestone.name: milestone.words for milestone in milestones} | OTHER_WORDS


_FINAL = (
    *FIRST_COLUMNS[1:],
    "weight_norm",
    "gradient_norm",
    "filter_share",
    "filter_cosine",
)
