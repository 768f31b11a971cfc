"""The host loop: dispatch a chunk, then record the one before, and so on.

The device does not wait for the host: chunk k + 1 is dispatched before the metrics of
chunk k are fetched. A run that meets its target therefore trains one chunk more, which
is recorded like the others.

A checkpoint at step s is written once all rows up to s are on the disk. A run that is
killed goes on from its newest checkpoint, after the rows beyond it have been cut off,
with the same numbers as if nothing had happened.
"""

import contextlib
import functools
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import optax

from experiments.engine.programs import EMPTY, Alone, Program, Slots
from experiments.engine.train import (
    StepLog,
    TrainState,
    evaluate,
    initialize,
    run_chunk,
)
from experiments.host.recorder import Recorder
from experiments.pictures.curves import plot_curves
from experiments.records import provenance
from experiments.records.checkpoint import Checkpoints
from experiments.records.run import RecordError, RunDirectory
from experiments.settings.config import Config


def double_precision_for(config: Config) -> contextlib.AbstractContextManager:
    """Double precision allowed if the configuration asks for it."""
    return jax.enable_x64(config.training.dtype == "float64")


def _in_dtype(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: :func:`double_precision_for` the first argument."""

    @functools.wraps(function)
    def called(config: Config, *args: Any, **kwargs: Any) -> Any:
        with double_precision_for(config):
            return function(config, *args, **kwargs)

    return called


@_in_dtype
def state_bytes(config: Config) -> dict[str, int]:
    """Bytes of a run's parameters, of its filter's state, and of its whole state."""

    def size(tree: Any) -> int:
        return sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(tree))

    state = _abstract_state(config)
    return {
        "parameters": size(state.params),
        "filter": size(optax.tree.get(state.opt_state, "inner")),
        "total": size(state),
    }


@_in_dtype
def expected_memory(config: Config) -> int:
    """Bytes that training needs, by the compiler's account: data, state, temporaries.

    Compiles the programs of a chunk and of an evaluation: the larger one counts.
    """
    static, hyper, data = config.static(), config.traced(), config.task.load()
    state = _abstract_state(config)
    programs = (
        run_chunk.lower(static, config.training.eval_every, hyper, data, state),
        evaluate.lower(static, hyper, data, state),
    )

    def needed(program: Any) -> int:
        analysis = program.compile().memory_analysis()
        return (
            analysis.argument_size_in_bytes
            + analysis.temp_size_in_bytes
            + analysis.output_size_in_bytes
            - analysis.alias_size_in_bytes
        )

    return max(map(needed, programs))


def check_memory(config: Config) -> None:
    """Check that a run's state fits: the backend might hang instead of failing.

    Raises:
      RecordError: it does not.
    """
    sizes, memory = state_bytes(config), provenance.memory_limit_bytes()
    directions = config.training.gradient_projections * sizes["parameters"]
    size = sizes["total"] + directions
    if memory is not None and size > memory:
        raise RecordError(
            "the state (parameters, filter, optimizer, projections) needs "
            f"{size / 2**30:.2f} GiB, the device has {memory / 2**30:.2f}; reduce "
            f"window_size = {config.filter.window_size}, gradient_projections = "
            f"{config.training.gradient_projections} or the model."
        )


def check_disk(checkpoints: Path, size: int) -> None:
    """Check that checkpoints of that size will fit beside what is there already.

    Raises:
      OSError: they will not.
    """
    there = sum(f.stat().st_size for f in checkpoints.rglob("*") if f.is_file())
    needed = Checkpoints.COPIES * size - there
    place = checkpoints.parent
    free = shutil.disk_usage(place).free
    if needed > free:
        raise OSError(
            f"{place} has {free / 2**20:.0f} MiB free, the checkpoints need "
            f"{needed / 2**20:.0f} more."
        )


@_in_dtype
def train(
    config: Config,
    run: RunDirectory,
    *,
    data: Any = None,
    on_evaluation: Callable[[dict[str, Any]], None] = lambda row: None,
    checkpoint_seconds: float = 60.0,
    checkpoint_steps: int | None = None,
    arguments: Sequence[str] = (),
) -> dict[str, Any]:
    """Train one run to its end, from the start or from where it was left.

    Args:
      config: all settings.
      run: where to record; locked, and prepared for these settings.
      data: ``config.task.load()``, if it is at hand.
      on_evaluation: called with each row of metrics once it is recorded.
      checkpoint_seconds: wall time between checkpoints; there is one at the end too.
      checkpoint_steps: steps between checkpoints, instead of by time.
      arguments: of the command line, for the summary.

    Returns:
      The summary, as written to ``summary.json``. Its ``status`` is "completed",
      "reached target", "diverged" (a loss was not finite; ``diverged_at_step`` says
      where) or "interrupted" (SIGINT or SIGTERM; a second one stops at once).

    Raises:
      OSError: the record cannot be written, the disk being full for example. What was
        written before is whole and can go on.
    """
    check_disk(run.checkpoints, state_bytes(config)["total"])
    with stop_requests() as stop_requested:
        data = config.task.load() if data is None else data
        recorder = Recorder(config, run, on_evaluation)
        checkpoints, program = Checkpoints(run.checkpoints), Alone(config, data)
        step, _, state = train_lanes(
            [recorder],
            program,
            checkpoints,
            stop_requested=stop_requested,
            checkpoint_seconds=checkpoint_seconds,
            checkpoint_steps=checkpoint_steps,
        )
        if recorder.diverged_at is None:
            checkpoints.save(step, program.slots(), state)
        checkpoints.close()
    plot_curves(run)
    return recorder.finish(step, state.params, arguments)


def train_lanes(
    lanes: Sequence[Recorder],
    program: Program,
    checkpoints: Checkpoints,
    *,
    stop_requested: Callable[[], bool],
    checkpoint_seconds: float = 60.0,
    checkpoint_steps: int | None = None,
    on_end: Callable[[int, int, Any], None] = lambda lane, step, params: None,
) -> tuple[int, Slots, TrainState]:
    """Train the lanes of one program until all are over, or a stop is requested.

    Args:
      lanes: the runs, which agree in their steps and evaluations.
      program: what advances them.
      checkpoints: of all of them together.
      stop_requested: asked between two chunks.
      checkpoint_seconds: wall time between checkpoints.
      checkpoint_steps: steps between checkpoints, instead of by time.
      on_end: called with the number of a lane that is over, the step, and its
        parameters; then its slot is given up.

    Returns:
      Step, slots and state at the end; with empty slots only, none is left.
    """
    restored = checkpoints.restore(program.abstract_state)
    pending: tuple[int, Slots, Any, StepLog | None] | None = None
    if restored is not None:
        step, slots, state = restored
    else:
        step, slots = 0, program.slots()
        state = program.initialize(slots)
        pending = step, slots, program.evaluate(slots, state), None
    for lane in occupied(slots):
        lanes[lane].begin(None if restored is None else step)

    def record() -> None:
        """Wait for the pending chunk and write its rows."""
        nonlocal pending
        if pending is None:
            return
        row_step, row_slots, *results = pending
        pending, results = None, jax.device_get(results)
        for slot, lane in enumerate(row_slots):
            if lane != EMPTY:
                metrics, log = program.of_slot(results, slot)
                lanes[lane].record(row_step, metrics, log, len(occupied(row_slots)))

    def over() -> list[int]:
        return [lane for lane in occupied(slots) if lanes[lane].is_over(step)]

    saved = step, time.monotonic()
    while occupied(slots):
        stop = stop_requested()
        if stop or over():
            record()
            ended = over()
            for lane in ended:
                params = program.of_slot(state.params, slots.index(lane))
                on_end(lane, step, params)
            slots = tuple(EMPTY if lane in ended else lane for lane in slots)
            if occupied(slots):
                if not stop:
                    slots, state = program.repack(slots, state)
                checkpoints.save(step, slots, state)
                saved = step, time.monotonic()
            if stop:
                break
            continue
        length = lanes[occupied(slots)[0]].boundary(step) - step
        state, log = program.advance(slots, length, state)
        metrics = program.evaluate(slots, state)
        record()
        step, pending = step + length, (step + length, slots, metrics, log)
        due = (
            time.monotonic() - saved[1] >= checkpoint_seconds
            if checkpoint_steps is None
            else step - saved[0] >= checkpoint_steps
        )
        if due and not over():
            record()
            if not over():
                checkpoints.save(step, slots, state)
                saved = step, time.monotonic()
    return step, slots, state


def occupied(slots: Slots) -> list[int]:
    """The lanes in the slots."""
    return [lane for lane in slots if lane != EMPTY]


def _abstract_state(config: Config) -> Any:
    return jax.eval_shape(
        lambda hyper: initialize(config.static(), hyper), config.traced()
    )


@contextlib.contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Turn the first SIGINT or SIGTERM into a request to stop after this chunk."""
    requests: list[int] = []
    previous = {}

    def on_signal(number, frame):
        del frame
        requests.append(number)
        signal.signal(number, previous[number])

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, on_signal)
    except ValueError:  # not in the main thread: signals are not ours to handle
        previous.clear()
    try:
        yield lambda: bool(requests)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
