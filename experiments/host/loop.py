"""The host loop: dispatch a chunk, then record the one before, and so on.

The device does not wait for the host: chunk k + 1 is dispatched before the metrics of
chunk k are fetched. A run that meets its target therefore trains one chunk more, which
is recorded like the others.

A checkpoint at step s is written once all rows up to s are on the disk. A run that is
killed goes on from its newest checkpoint, after the rows beyond it have been cut off,
with the same numbers as if nothing had happened.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax

from experiments.engine.evaluate import Evaluation
from experiments.engine.programs import EMPTY, Due, Program, SingleRun, Slots
from experiments.engine.state import StepLog, TrainState, numerics_of
from experiments.host.recorder import Recorder, Row
from experiments.host.signals import stop_requests
from experiments.records.checkpoint import Checkpoints, quiet_writer
from experiments.records.run import RunDirectory
from experiments.settings.config import Settings
from experiments.settings.task import Data, Params


@dataclasses.dataclass(frozen=True)
class SaveEvery:
    """How often to write a checkpoint; there is one at the end too.

    Attributes:
      seconds: of wall time.
      steps: instead of by time.
    """

    seconds: float = 60.0
    steps: int | None = None

    def is_due(self, seconds: float, steps: int) -> bool:
        """Whether so long after the last one another is to be written."""
        return seconds >= self.seconds if self.steps is None else steps >= self.steps


def train(
    settings: Settings,
    run: RunDirectory,
    data: Data,
    *,
    on_evaluation: Callable[[Row], None] = lambda row: None,
    save_every: SaveEvery = SaveEvery(),
    arguments: Sequence[str] = (),
) -> dict[str, Any]:
    """Train one run to its end, from the start or from where it was left.

    Args:
      settings: of the run.
      run: where to record; locked, and prepared for these settings.
      data: ``task.load()``.
      on_evaluation: called with each row of metrics once it is recorded.
      save_every: time or steps between checkpoints.
      arguments: of the command line, for the summary.

    Returns:
      The summary, as written to ``summary.json``. Its ``status`` is "completed",
      "reached target", "diverged" (a loss was not finite; ``diverged_at_step`` says
      where) or "interrupted" (Ctrl-C, SIGTERM, SIGHUP; a second Ctrl-C stops at once).

    Raises:
      OSError: the record cannot be written, the disk being full for example. What was
        written before is whole and can go on.
    """
    config = settings.config
    with (
        stop_requests() as stop_requested,
        numerics_of(config),
        quiet_writer(),
    ):
        recorder = Recorder(settings, run, on_evaluation)
        checkpoints, program = Checkpoints(run.checkpoints), SingleRun(config, data)
        step, _, state = train_lanes(
            [recorder],
            program,
            checkpoints,
            stop_requested=stop_requested,
            save_every=save_every,
        )
        if recorder.diverged_at is None:
            checkpoints.save(step, program.slots(), state)
        checkpoints.close()
        return recorder.finish(step, state.params, arguments)


def train_lanes(
    recorders: Sequence[Recorder],
    program: Program,
    checkpoints: Checkpoints,
    *,
    stop_requested: Callable[[], bool],
    save_every: SaveEvery = SaveEvery(),
    on_end: Callable[[int, int, Params], None] = lambda lane, step, params: None,
) -> tuple[int, Slots, TrainState]:
    """Train the lanes of one program until all are over, or a stop is requested.

    Args:
      recorders: of the lanes, which agree in their steps and evaluations.
      program: what advances them.
      checkpoints: of all of them together.
      stop_requested: asked between two chunks.
      save_every: time or steps between checkpoints.
      on_end: called with the number of a lane that is over, the step, and its
        parameters; then its slot is given up.

    Returns:
      Step, slots and state at the end; with empty slots only, none is left.
    """
    lanes = _Lanes(recorders, program, checkpoints, on_end)
    lanes.begin()
    while lanes.occupied():
        stop = stop_requested()
        if stop or lanes.over():
            lanes.record_pending()  # which may end more lanes
            lanes.retire()
            if lanes.occupied():
                if not stop:
                    lanes.repack()
                lanes.save()
            if stop:
                break
        else:
            lanes.advance()
            if save_every.is_due(*lanes.since_save()) and not lanes.over():
                lanes.record_pending()
                if not lanes.over():
                    lanes.save()
    return lanes.step, lanes.slots, lanes.state


def occupied(slots: Slots) -> list[int]:
    """The lanes in the slots."""
    return [lane for lane in slots if lane != EMPTY]


class _Pending(NamedTuple):
    """A chunk that has been dispatched, and not been recorded."""

    step: int
    slots: Slots
    due: Due
    evaluation: Evaluation
    log: StepLog | None


class _Lanes:
    """The lanes of one program while they train; see :func:`train_lanes`."""

    def __init__(
        self,
        recorders: Sequence[Recorder],
        program: Program,
        checkpoints: Checkpoints,
        on_end: Callable[[int, int, Params], None],
    ):
        self._recorders, self._program = recorders, program
        self._checkpoints, self._on_end = checkpoints, on_end
        self._pending: _Pending | None = None
        self._called: set[Any] = set()
        self._compiling = 0.0  # seconds since the last row

    def begin(self) -> None:
        """From the newest checkpoint; else from the start, evaluated first."""
        program = self._program
        restored = self._checkpoints.restore(program.abstract_state, program.padded)
        if restored is not None:
            self.step, self.slots, self.state = restored
        else:
            self.step, self.slots = 0, program.slots()
            self.state = program.initialize(self.slots)
            self._evaluate(None)
        for lane in self.occupied():
            self._recorders[lane].begin(None if restored is None else self.step)
        self._compiling = 0.0  # the recorders' time begins here
        self._saved = self.step, time.monotonic()

    def occupied(self) -> list[int]:
        """The lanes that are not over."""
        return occupied(self.slots)

    def over(self) -> list[int]:
        """Those of them that need no more steps, as far as the rows so far tell."""
        return [i for i in self.occupied() if self._recorders[i].is_over(self.step)]

    def advance(self) -> None:
        """Dispatch the next chunk, then record the one before."""
        first = self._recorders[self.occupied()[0]]
        length = first.boundary(self.step) - self.step
        with self._noting_compilation("advance", length):
            self.state, log = self._program.advance(self.slots, length, self.state)
        self.step += length
        before, self._pending = self._pending, None
        self._evaluate(log)
        self._record(before)

    def _evaluate(self, log: StepLog | None) -> None:
        first = self._recorders[self.occupied()[0]]
        due = first.due(self.step, self._program.measures)
        with self._noting_compilation("evaluate", due):
            evaluation = self._program.evaluate(self.slots, self.state, due)
        self._pending = _Pending(self.step, self.slots, due, evaluation, log)

    @contextlib.contextmanager
    def _noting_compilation(self, *program: Any) -> Iterator[None]:
        """A call returns before its result is there: the first one waits for a program.

        Another lane may compile it; waiting for that counts too.
        """
        start, key = time.monotonic(), (len(self.slots), *program)
        yield
        if key not in self._called:
            self._called.add(key)
            self._compiling += time.monotonic() - start

    def record_pending(self) -> None:
        """Wait for the chunk that was dispatched last, and write its rows."""
        pending, self._pending = self._pending, None
        self._record(pending)

    def _record(self, pending: _Pending | None) -> None:
        if pending is None:
            return
        step, slots, due, *results = pending
        results = jax.device_get(results)
        lanes = len(occupied(slots))
        compiling, self._compiling = self._compiling, 0.0
        for slot, lane in enumerate(slots):
            if lane != EMPTY:
                evaluation, log = self._program.of_slot(results, slot)
                row = evaluation.row(due)
                self._recorders[lane].record(step, row, log, lanes, compiling)

    def retire(self) -> None:
        """Give up the slots of lanes that are over."""
        ended = self.over()
        for lane in ended:
            slot = self.slots.index(lane)
            params = self._program.of_slot(self.state.params, slot)
            self._on_end(lane, self.step, params)
        self.slots = tuple(EMPTY if lane in ended else lane for lane in self.slots)

    def repack(self) -> None:
        """Leave empty slots out."""
        self.slots, self.state = self._program.repack(self.slots, self.state)

    def save(self) -> None:
        """Write a checkpoint; all rows must be recorded."""
        self._checkpoints.save(self.step, self.slots, self.state)
        self._saved = self.step, time.monotonic()

    def since_save(self) -> tuple[float, int]:
        """Seconds and steps since the last checkpoint."""
        step, seconds = self._saved
        return time.monotonic() - seconds, self.step - step
