"""Live progress of a run, and of a sweep: a bar, or lines if there is no screen."""

import collections
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from experiments.records.status import Status
from experiments.screen.console import console, is_screen

SECONDS_BETWEEN_LINES = 10.0
Show = Callable[[int, str, bool], None]  # steps done, what to say, whether all is over


class _Speed(ProgressColumn):
    """Steps per second over the recent past."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} steps/s" if task.speed else "compiling")


@contextlib.contextmanager
def _shown(label: str, steps: int, text: str) -> Iterator[Show]:
    """A bar; where the output is no screen, a plain line every ten seconds."""
    if not is_screen():
        last = [time.monotonic()]

        def show_line(done: int, text: str, is_over: bool) -> None:
            now = time.monotonic()
            if now - last[0] >= SECONDS_BETWEEN_LINES or is_over:
                last[0] = now
                console.print(f"{label}: {done:,} of {steps:,} steps, {text}")

        yield show_line
        return
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        _Speed(),
        TextColumn("{task.fields[text]}"),
        TimeRemainingColumn(),
        console=console,
    )
    with bar:
        task = bar.add_task(label, total=steps, text=text)

        def show(done: int, text: str, is_over: bool) -> None:
            del is_over
            bar.update(task, completed=done, text=text)

        yield show


@contextlib.contextmanager
def progress(
    label: str, steps: int, *, silent: bool = False
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Progress of a run; yields the function that takes each row of metrics.

    ``silent`` prints nothing.
    """
    if silent:
        yield lambda row: None
        return
    with _shown(label, steps, "") as show:
        yield lambda row: show(row["step"], describe(row), row["step"] >= steps)


def describe(row: Mapping[str, Any]) -> str:
    """The accuracies of a row (the losses if the task has none), in a few words."""
    if "train_accuracy" in row:
        return (
            f"train {row['train_accuracy']:6.1%} val {row['validation_accuracy']:6.1%}"
        )
    return f"train {row['train_loss']:.3g} val {row['validation_loss']:.3g}"


class SweepProgress:
    """Counts steps and lanes; called by several threads.

    Args:
      budgets: steps of every lane, by name.
      show: called with the steps that are done or will not be needed any more, a line
        of text, and whether all lanes are over.
    """

    def __init__(self, budgets: Mapping[str, int], show: Show | None = None):
        self._budgets, self._show = budgets, show
        self._steps: collections.Counter[str] = collections.Counter()
        self._ended: dict[str, str] = {}
        self._lock = threading.Lock()

    def advanced(self, lane: str, row: dict[str, Any]) -> None:
        """A lane has been evaluated."""
        with self._lock:
            self._steps[lane] = int(row["step"])
            self._tell()

    def ended(self, lane: str, summary: dict[str, Any]) -> None:
        """A lane is over; what it did not need of its budget counts as done."""
        with self._lock:
            self._ended[lane] = summary["status"]
            if summary["status"] != Status.INTERRUPTED:
                self._steps[lane] = self._budgets[lane]
            self._tell()

    def _tell(self) -> None:
        if self._show is None:
            return
        counts = collections.Counter(self._ended.values())
        text = f"{len(self._ended)}/{len(self._budgets)} lanes over"
        others = [
            f"{n} {status}"
            for status, n in counts.items()
            if status != Status.COMPLETED
        ]
        if others:
            text += f" ({', '.join(sorted(others))})"
        all_over = len(self._ended) == len(self._budgets)
        self._show(self._steps.total(), text, all_over)


@contextlib.contextmanager
def sweep_progress(
    budgets: Mapping[str, int], *, silent: bool = False
) -> Iterator[SweepProgress]:
    """Progress over the steps of all lanes, by their names."""
    if silent:
        yield SweepProgress(budgets)
        return
    total, lanes = sum(budgets.values()), len(budgets)
    if not is_screen():
        console.print(f"sweep: {lanes} lanes, {total:,} steps; compiling first")
    with _shown("sweep", total, f"{lanes} lanes") as show:
        yield SweepProgress(budgets, show)
