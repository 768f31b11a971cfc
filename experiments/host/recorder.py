"""One run as the host sees it: its record, row by row, and when it is over."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.engine.programs import Due
from experiments.engine.state import StepLog
from experiments.host.summary import Timer, summarize
from experiments.records.provenance import revision
from experiments.records.run import RecordError, RunDirectory
from experiments.records.status import Status
from experiments.settings.config import Settings
from experiments.settings.measure import Measure
from experiments.settings.task import Params

Row = dict[str, Any]


class Recorder:
    """Writes a run's rows; knows its target, and whether it diverged.

    Args:
      settings: of the run.
      run: where to record; locked, and prepared for these settings.
      on_evaluation: called with each row of metrics once it is recorded.
    """

    def __init__(
        self,
        settings: Settings,
        run: RunDirectory,
        on_evaluation: Callable[[Row], None] = lambda row: None,
    ):
        self.settings, self.run = settings, run
        self._on_evaluation = on_evaluation
        self._columns: list[str] | None = None
        # A lane that was finished before its program was killed: the program goes on
        # from an older checkpoint, trains it again, and nothing of it is written.
        self.finished = run.summary_file.exists()

    def begin(self, step: int | None) -> None:
        """Forget what was recorded after a checkpoint; None: there is no checkpoint.

        Raises:
          RecordError: the rows do not reach the checkpoint.
        """
        budget = self.settings.budget
        self.diverged_at: int | None = None
        if self.finished:
            summary = self.run.summary()
            self.reached_at: int | None = int(summary["steps"])
            if summary["status"] == Status.DIVERGED:  # one chunk more was trained
                self.reached_at = self.boundary(self.reached_at)
            return
        if step is None:
            self.run.cut(0, keep_row=False)
        else:
            last = int(self.run.metrics().get("step", [0])[-1])
            if last < step:
                raise RecordError(
                    f"{self.run.metrics_file} ends at step {last}, the checkpoint is "
                    f"of step {step}; --force starts over."
                )
            # A row off the grid ended a shorter run: more steps go on without it.
            is_extra = step % budget.eval_every and step < budget.steps
            self.run.cut(step, keep_row=not is_extra)
        self.run.begin(revision(), anew=step is None)
        self._timer = Timer(self.run.seconds(), self.run.compile_seconds())
        self.reached_at = self._first_reached()

    def record(
        self,
        step: int,
        metrics: Mapping[str, Any],
        log: StepLog | None,
        lanes: int = 1,
        compiling: float = 0.0,
    ) -> None:
        """Write the row of an evaluation, unless the run had diverged before.

        Args:
          step: number of updates done.
          metrics: on the host.
          log: of the steps since the last evaluation, on the host; None for none.
          lanes: runs that shared the time since then.
          compiling: seconds of it that went into compilation.

        Raises:
          RecordError: the row has other columns than those before it.
        """
        if self.diverged_at is not None or self.finished:
            return
        row = {"step": step, **metrics}
        if self._columns is None:
            self._columns = self.run.columns(list(row))
        losses, projections = log or (np.empty(0), None)
        if projections is not None:
            self.run.append_projections(np.asarray(projections))
        self._timer.lap(step, lanes, compiling)
        self.run.append(
            self._columns, row, self._timer.seconds(), self._timer.compiling()
        )
        self._on_evaluation(row)
        self.diverged_at = _first_non_finite(step, row, np.asarray(losses))
        if self.reached_at is None and self._is_reached(row):
            self.reached_at = step

    def boundary(self, step: int) -> int:
        """The next step after ``step`` that is evaluated."""
        budget = self.settings.budget
        every = budget.eval_every
        return min((step // every + 1) * every, budget.steps)

    def due(self, step: int, measures: Sequence[Measure]) -> Due:
        """Which measures the evaluation at ``step`` takes.

        By the step alone: a run that goes on has the rows of one that never stopped.
        (A last row off the grid, which takes all, is cut off when a run goes on.)
        """
        number, rest = divmod(step, self.settings.budget.eval_every)
        return tuple(bool(rest) or number % m.every == 0 for m in measures)

    def is_over(self, step: int) -> bool:
        """Whether no step is to follow ``step``, as far as the rows so far tell.

        A run that meets its target ends at the evaluation after.
        """
        if self.diverged_at is not None:
            return True
        if self.reached_at is None:
            return step >= self.settings.budget.steps
        if self.finished:
            return step >= self.reached_at
        return step >= self.boundary(self.reached_at)

    def finish(
        self, step: int, params: Params | None, arguments: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Write the summary; with it the run counts as finished, unless interrupted.

        Args:
          step: number of updates that have been dispatched.
          params: parameters after them.
          arguments: of the command line.
        """
        if self.finished:
            return self.run.summary()
        if self.diverged_at is not None:
            status = Status.DIVERGED
            params = None  # one chunk more was dispatched than recorded
        elif not self.is_over(step):
            status = Status.INTERRUPTED
        elif self.reached_at is None:
            status = Status.COMPLETED
        else:
            status = Status.REACHED_TARGET
        summary = summarize(
            self.settings,
            self.run,
            self._timer,
            params,
            status,
            self.diverged_at,
            arguments,
        )
        self.run.write_summary(summary)
        return summary

    def _is_reached(self, row: Mapping[str, Any]) -> bool:
        target = self.settings.budget.target
        return target is not None and bool(target.is_met(row[target.column]))

    def _first_reached(self) -> int | None:
        """The first recorded step that meets the target."""
        target, metrics = self.settings.budget.target, self.run.metrics()
        if target is None or target.column not in metrics:
            return None
        pairs = zip(metrics["step"], metrics[target.column], strict=True)
        return next((int(step) for step, value in pairs if target.is_met(value)), None)


def _first_non_finite(step: int, row: Row, losses: np.ndarray) -> int | None:
    """The step whose loss, before its update, was the first not to be finite."""
    bad = np.flatnonzero(~np.isfinite(losses))
    if bad.size:
        return step - len(losses) + int(bad[0])
    return None if np.isfinite(row["train_loss"]) else step
