"""Live progress of a whole sweep."""

import collections
import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from experiments.host.recorder import COMPLETED
from experiments.records.run import INTERRUPTED
from experiments.screen.console import SECONDS_BETWEEN_LINES, console


class SweepProgress:
    """Counts steps and lanes; called by several threads.

    Args:
      budgets: steps of every lane, by name.
      show: called with the steps that are done or will not be needed any more, a line
        of text, and whether all lanes are over.
    """

    def __init__(self, budgets: Mapping[str, int], show: Any = None):
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
            if summary["status"] != INTERRUPTED:
                self._steps[lane] = self._budgets[lane]
            self._tell()

    def _tell(self) -> None:
        if self._show is None:
            return
        counts = collections.Counter(self._ended.values())
        text = f"{len(self._ended)}/{len(self._budgets)} lanes over"
        others = [
            f"{n} {status}" for status, n in counts.items() if status != COMPLETED
        ]
        if others:
            text += f" ({', '.join(sorted(others))})"
        all_over = len(self._ended) == len(self._budgets)
        self._show(self._steps.total(), text, all_over)


@contextlib.contextmanager
def sweep_progress(
    lanes: int, budgets: Mapping[str, int], *, silent: bool = False
) -> Iterator[SweepProgress]:
    """A bar over the steps of all lanes; where there is no terminal, lines."""
    if silent:
        yield SweepProgress(budgets)
        return
    if not console.is_terminal:
        total = sum(budgets.values())
        console.print(f"sweep: {lanes} lanes, {total:,} steps; compiling first")
        yield SweepProgress(budgets, _line_printer(total))
        return
    bar = Progress(
        TextColumn("sweep"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[lanes]}"),
        TimeRemainingColumn(),
        console=console,
    )
    with bar:
        task = bar.add_task("", total=sum(budgets.values()), lanes=f"{lanes} lanes")
        yield SweepProgress(
            budgets,
            lambda steps, text, _: bar.update(task, completed=steps, lanes=text),
        )


def _line_printer(total: int) -> Any:
    last = [time.monotonic()]

    def show(steps: int, text: str, all_over: bool) -> None:
        now = time.monotonic()
        if now - last[0] >= SECONDS_BETWEEN_LINES or all_over:
            last[0] = now
            console.print(f"sweep: {steps:,} of {total:,} steps, {text}")

    return show
