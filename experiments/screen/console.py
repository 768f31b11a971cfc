"""What a person sees while a run trains and after it: progress, tables."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from experiments.records.run import FIRST_COLUMNS

console = Console(highlight=False)

SECONDS_BETWEEN_LINES = 10.0


class _Speed(ProgressColumn):
    """Steps per second over the recent past."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} steps/s" if task.speed else "compiling")


@contextmanager
def progress(
    label: str, steps: int, *, silent: bool = False
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """A progress bar; yields the function that takes each row of metrics.

    Where the output is no terminal, a plain line every ten seconds instead; ``silent``
    prints nothing.
    """
    if silent:
        yield lambda row: None
        return
    if not console.is_terminal:
        yield _line_printer(label, steps)
        return
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        _Speed(),
        TextColumn("{task.fields[accuracies]}"),
        TimeRemainingColumn(),
        console=console,
    )
    with bar:
        task = bar.add_task(label, total=steps, accuracies="")

        def show(row: dict[str, Any]) -> None:
            bar.update(task, completed=row["step"], accuracies=describe(row))

        yield show


def _line_printer(label: str, steps: int) -> Callable[[dict[str, Any]], None]:
    last = [time.monotonic()]

    def show(row: dict[str, Any]) -> None:
        now = time.monotonic()
        if now - last[0] >= SECONDS_BETWEEN_LINES or row["step"] >= steps:
            last[0] = now
            console.print(f"{label}: step {row['step']}/{steps}, {describe(row)}")

    return show


def describe(row: dict[str, Any]) -> str:
    """The accuracies of a row (the losses if the task has none), in a few words."""
    if "train_accuracy" in row:
        return (
            f"train {row['train_accuracy']:6.1%} val {row['validation_accuracy']:6.1%}"
        )
    return f"train {row['train_loss']:.3g} val {row['validation_loss']:.3g}"


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[Any]]):
    """A table, first column left, the others right; None is shown as a dash."""
    table = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for index, name in enumerate(header):
        if index == 0:  # long names of runs are folded, to be told apart
            longest = max((len(str(row[0])) for row in rows), default=0)
            table.add_column(name, overflow="fold", min_width=min(longest, 13))
        else:
            table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*("–" if cell is None else str(cell) for cell in row))
    console.print(table)


def print_summary(summary: dict[str, Any], path: Any) -> None:
    """The summary of one run as a table."""
    final = summary["final"]
    rows = [["status", summary["status"]], ["steps", summary["steps"]]]
    if summary["diverged_at_step"] is not None:
        rows.append(["first non-finite loss at step", summary["diverged_at_step"]])
    for name in (name for name in _FINAL if name in final):
        value = final[name]
        rows.append([name.replace("_", " "), None if value is None else f"{value:.4g}"])
    rows += [
        [MILESTONE_TEXT[name], f"{value:.4g}" if isinstance(value, float) else value]
        for name, value in summary["milestones"].items()
        if name in MILESTONE_TEXT
    ]
    rows += [
        ["seconds", summary["seconds"]],
        ["ms per step (with evaluation)", summary["ms_per_step"]],
        ["peak memory (MiB)", summary["peak_memory_mib"]["process"]],
    ]
    print_table("Summary", ("", "value"), rows)
    console.print(f"Recorded in {path}", soft_wrap=True)


_FINAL = (
    *FIRST_COLUMNS[1:],
    "weight_norm",
    "gradient_norm",
    "filter_share",
    "filter_cosine",
)
MILESTONE_TEXT = {
    "t_fit_99": "steps to 99 % training accuracy",
    "t_gen_95": "steps to 95 % validation accuracy",
    "t_gen_99": "steps to 99 % validation accuracy",
    "t_gen_95_of_best": "steps to 95 % of its best validation accuracy",
    "t_gen_95_of_published": "steps to 95 % of the published final accuracy",
    "delay": "delay (steps)",
    "min_validation_loss": "lowest validation loss",
    "t_min_validation_loss": "… at step",
}
"""What the milestones are called in tables."""
