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
from typing import Any

import jax
import numpy as np
import optax

from experiments import provenance
from experiments.checkpoint import Checkpoints
from experiments.config import Config, TrainingOptions
from experiments.plots import plot_curves
from experiments.records import INTERRUPTED, RecordError, RunDirectory
from experiments.summary import Timer, summarize
from experiments.train import StepLog, evaluate, initialize, run_chunk

COMPLETED = "completed"
REACHED_TARGET = "reached target"
DIVERGED = "diverged"


def _in_dtype(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: double precision allowed if the first argument's dtype asks for it."""

    @functools.wraps(function)
    def called(config: Config, *args: Any, **kwargs: Any) -> Any:
        with jax.enable_x64(config.training.dtype == "float64"):
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


def _check_disk(config: Config, run: RunDirectory) -> None:
    """Check that the checkpoints will fit beside what is there already.

    Raises:
      OSError: they will not.
    """
    there = sum(f.stat().st_size for f in run.checkpoints.rglob("*") if f.is_file())
    needed = Checkpoints.COPIES * state_bytes(config)["total"] - there
    free = shutil.disk_usage(run.path).free
    if needed > free:
        raise OSError(
            f"{run.path} has {free / 2**20:.0f} MiB free, the checkpoints need "
            f"{needed / 2**20:.0f} more."
        )


@_in_dtype
def train(
    config: Config,
    run: RunDirectory,
    *,
    on_evaluation: Callable[[dict[str, Any]], None] = lambda row: None,
    checkpoint_seconds: float = 60.0,
    checkpoint_steps: int | None = None,
    arguments: Sequence[str] = (),
) -> dict[str, Any]:
    """Train one run to its end, from the start or from where it was left.

    Args:
      config: all settings.
      run: where to record; locked, and prepared for these settings.
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
    _check_disk(config, run)
    with _stop_requests() as stop_requested:
        static, hyper = config.static(), config.traced()
        data = jax.device_put(config.task.load())
        checkpoints = Checkpoints(run.checkpoints)
        pending: tuple[int, Any, StepLog | None] | None = None
        if (restored := checkpoints.restore(_abstract_state(config))) is not None:
            step, state = restored
            # A row off the grid ended a shorter run: more steps go on without it.
            is_extra = (
                step % config.training.eval_every and step < config.training.steps
            )
            run.cut(step, keep_row=not is_extra)
        else:
            run.cut(0, keep_row=False)
            state = initialize(static, hyper)
            metrics = evaluate(static, hyper, data, state)
            step, pending = 0, (0, metrics, None)
        timer = Timer(run.seconds())
        reached_at, diverged_at = _first_reached(config.training, run.metrics()), None

        def last_step() -> int:
            """A run that meets its target ends at the evaluation after."""
            if reached_at is None:
                return config.training.steps
            return _boundary(config.training, reached_at)

        def record() -> None:
            """Wait for the pending chunk and write its row."""
            nonlocal pending, reached_at, diverged_at
            if pending is None:
                return
            (row_step, metrics, log), pending = pending, None
            row = {"step": row_step, **jax.device_get(metrics)}
            losses, projections = jax.device_get(log or (np.empty(0), None))
            if projections is not None:
                run.append_projections(projections)
            run.append(row, timer.lap(row_step))
            on_evaluation(row)
            diverged_at = _first_non_finite(row_step, row, losses)
            if reached_at is None and _is_reached(config.training, row):
                reached_at = row_step

        saved = step, time.monotonic()
        while step < last_step() and diverged_at is None and not stop_requested():
            length = _boundary(config.training, step) - step
            state, log = run_chunk(static, length, hyper, data, state)
            metrics = evaluate(static, hyper, data, state)
            record()
            step, pending = step + length, (step + length, metrics, log)
            due = (
                time.monotonic() - saved[1] >= checkpoint_seconds
                if checkpoint_steps is None
                else step - saved[0] >= checkpoint_steps
            )
            if due and diverged_at is None:
                record()
                if diverged_at is None:
                    checkpoints.save(step, state)
                    saved = step, time.monotonic()
        if diverged_at is None:
            record()
        if diverged_at is None:
            checkpoints.save(step, state)
        checkpoints.close()

    if diverged_at is not None:
        status = DIVERGED
    elif step < last_step():
        status = INTERRUPTED
    else:
        status = COMPLETED if reached_at is None else REACHED_TARGET
    # A diverged run has dispatched one chunk more than it recorded.
    params = None if status == DIVERGED else state.params
    summary = summarize(config, run, timer, params, status, diverged_at, arguments)
    plot_curves(run)
    run.write_summary(summary)  # last: with it the run counts as finished
    return summary


def _abstract_state(config: Config) -> Any:
    return jax.eval_shape(
        lambda hyper: initialize(config.static(), hyper), config.traced()
    )


def _boundary(training: TrainingOptions, step: int) -> int:
    """The next step after ``step`` that is evaluated."""
    every = training.eval_every
    return min((step // every + 1) * every, training.steps)


def _is_reached(training: TrainingOptions, row: dict[str, Any]) -> bool:
    target = training.stop_at
    return target is not None and bool(row["validation_accuracy"] >= target)


def _first_reached(
    training: TrainingOptions, metrics: dict[str, np.ndarray]
) -> int | None:
    """The first recorded step that meets the target."""
    for index, step in enumerate(metrics.get("step", ())):
        if _is_reached(training, {name: col[index] for name, col in metrics.items()}):
            return int(step)
    return None


def _first_non_finite(step: int, row: dict[str, Any], losses: np.ndarray) -> int | None:
    """The step whose loss, before its update, was the first not to be finite."""
    bad = np.flatnonzero(~np.isfinite(losses))
    if bad.size:
        return step - len(losses) + int(bad[0])
    return None if np.isfinite(row["train_loss"]) else step


@contextlib.contextmanager
def _stop_requests() -> Iterator[Callable[[], bool]]:
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
