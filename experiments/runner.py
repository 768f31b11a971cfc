"""The host loop: dispatch a chunk, then record the one before, and so on.

The device never waits for the host: chunk k + 1 is dispatched before the metrics of
chunk k are fetched. A run that stops at a target has therefore computed one chunk more,
which is recorded like the others.
"""

import contextlib
import itertools
import shlex
import signal
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from experiments import provenance
from experiments.config import Config
from experiments.milestones import milestones
from experiments.plots import plot_curves
from experiments.records import RunDirectory
from experiments.train import initialize, run_chunk

COMPLETED = "completed"
REACHED_TARGET = "reached target"
DIVERGED = "diverged"
INTERRUPTED = "interrupted"


def check_memory(config: Config) -> None:
    """Check that the state of a run fits; the backend might hang instead of failing.

    Raises:
      ValueError: it does not.
    """
    state, _ = jax.eval_shape(
        lambda hyper, data: initialize(config.static(), hyper, data),
        config.traced(),
        config.task.load(),
    )
    size = sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(state))
    limit = provenance.memory_limit_bytes()
    if limit is not None and size > limit:
        raise ValueError(
            f"the state (parameters, filter, optimizer) needs {size / 2**30:.1f} GiB, "
            f"the device has {limit / 2**30:.1f}; reduce window_size = "
            f"{config.filter.window_size} or the model."
        )


def train(
    config: Config,
    run: RunDirectory,
    *,
    on_evaluation: Callable[[dict[str, Any]], None] = lambda row: None,
    arguments: Sequence[str] = (),
) -> dict[str, Any]:
    """Train one run and record it in ``run``, which must have been created.

    Args:
      config: all settings.
      run: where to record.
      on_evaluation: called with each row of metrics once it is recorded.
      arguments: of the command line, for the summary.

    Returns:
      The summary, as written to ``summary.json``. Its ``status`` is "completed",
      "reached target", "diverged" (a loss was not finite; ``diverged_at_step`` says
      where) or "interrupted" (SIGINT or SIGTERM; a second one stops at once).
    """
    began = time.perf_counter()
    static, hyper = config.static(), config.traced()
    data = jax.device_put(config.task.load())
    status, diverged_at, timings = COMPLETED, None, []

    def record(step: int, metrics: Any, losses: Any) -> str | None:
        """Wait for a chunk, write its row, and say why to stop, if at all."""
        nonlocal diverged_at
        row = {"step": step, **jax.device_get(metrics)}
        timings.append((step, time.perf_counter()))
        run.append(row)
        on_evaluation(row)
        diverged_at = _first_non_finite(step, row, np.asarray(losses))
        if diverged_at is not None:
            return DIVERGED
        target = config.training.stop_at
        if target is not None and row["validation_accuracy"] >= target:
            return REACHED_TARGET
        return None

    with _stop_requests() as stop_requested:
        state, metrics = initialize(static, hyper, data)
        pending = (0, metrics, [])
        for step, length in _chunks(config.training.steps, config.training.eval_every):
            state, metrics, losses = run_chunk(static, length, hyper, data, state)
            reason = record(*pending)
            pending = (step, metrics, losses)
            if reason or stop_requested():
                status = reason or INTERRUPTED
                break
        if status != DIVERGED:
            status = record(*pending) or status

    columns = run.metrics()
    summary = {
        "status": status,
        "steps": int(columns["step"][-1]),
        "diverged_at_step": diverged_at,
        "milestones": milestones(columns),
        "milestone_resolution_steps": config.training.eval_every,
        "final": {name: values[-1].item() for name, values in columns.items()},
        "seconds": round(time.perf_counter() - began, 3),
        "seconds_to_first_chunk": round(
            timings[min(1, len(timings) - 1)][1] - began, 3
        ),
        "ms_per_step": _ms_per_step(timings, config.training.eval_every),
        "peak_memory_mib": provenance.peak_memory_mib(),
        "parameters": sum(p.size for p in jax.tree.leaves(state.params)),
        # A diverged run has dispatched one chunk more than it recorded.
        "parameters_sha256": None
        if status == DIVERGED
        else provenance.parameters_sha256(state.params),
        "device": provenance.device(),
        "versions": provenance.versions(),
        "command": shlex.join(["python", "-m", "experiments", *arguments]),
    }
    run.write_summary(summary)
    plot_curves(run)
    return summary


def _chunks(steps: int, eval_every: int) -> Iterator[tuple[int, int]]:
    """Step reached and length of every chunk; the last may be shorter."""
    for start in range(0, steps, eval_every):
        length = min(eval_every, steps - start)
        yield start + length, length


def _first_non_finite(step: int, row: dict[str, Any], losses: np.ndarray) -> int | None:
    """The step whose loss, before its update, was the first not to be finite."""
    bad = np.flatnonzero(~np.isfinite(losses))
    if bad.size:
        return step - len(losses) + int(bad[0])
    return None if np.isfinite(row["train_loss"]) else step


def _ms_per_step(timings: list[tuple[int, float]], eval_every: int) -> float | None:
    """Median wall time per step, evaluations included.

    Without the first chunk and a shorter last one, which include their compilation.
    """
    chunks = [
        (end - start) / eval_every * 1e3
        for (before, start), (step, end) in itertools.pairwise(timings[1:])
        if step - before == eval_every
    ]
    return round(statistics.median(chunks), 3) if chunks else None


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
