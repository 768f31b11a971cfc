"""The summary of a run: milestones, time, memory, and where the figures came from."""

import itertools
import shlex
import statistics
import time
from collections.abc import Sequence
from typing import Any

import jax

from experiments.records import provenance
from experiments.records.run import RunDirectory
from experiments.results.milestones import milestones
from experiments.settings.config import Settings
from experiments.settings.task import Params


class Timer:
    """Wall time of a run, over all its resumes.

    Args:
      earlier: seconds of training before this process.
      compiling: those of them that went into compilation.
    """

    def __init__(self, earlier: float = 0.0, compiling: float = 0.0):
        self._seconds, self._compiling = earlier, compiling
        self._last = time.perf_counter()
        self._laps: list[tuple[int, float]] = []

    def lap(self, step: int, lanes: int = 1, compiling: float = 0.0) -> None:
        """Note that ``step`` has been reached.

        Of the time since the last lap, and of what of it went into compilation, each
        of ``lanes`` runs at once has its share.
        """
        now = time.perf_counter()
        self._seconds += (now - self._last) / lanes
        self._compiling += compiling / lanes
        self._last = now
        self._laps.append((step, self._seconds))

    def seconds(self) -> float:
        """Seconds until the last lap."""
        return self._seconds

    def compiling(self) -> float:
        """Those of them that went into compilation."""
        return self._compiling

    def ms_per_step(self, eval_every: int) -> float | None:
        """Median wall time per step, evaluations included.

        Without the first chunk and a shorter last one, which include compilation.
        """
        chunks = [
            (end - start) / eval_every * 1e3
            for (before, start), (step, end) in itertools.pairwise(self._laps[1:])
            if step - before == eval_every
        ]
        return round(statistics.median(chunks), 3) if chunks else None


def summarize(
    settings: Settings,
    run: RunDirectory,
    timer: Timer,
    params: Params | None,
    status: str,
    diverged_at: int | None,
    arguments: Sequence[str],
) -> dict[str, Any]:
    """The contents of ``summary.json``; ``params`` is None where there are none."""
    metrics = run.metrics()
    return {
        "status": status,
        "steps": int(metrics["step"][-1]),
        "diverged_at_step": diverged_at,
        "milestones": milestones(metrics, settings.config.task.milestones),
        "milestone_resolution_steps": settings.budget.eval_every,
        "final": {name: values[-1].item() for name, values in metrics.items()},
        "seconds": round(timer.seconds(), 3),
        "compile_seconds": round(timer.compiling(), 3),
        "ms_per_step": timer.ms_per_step(settings.budget.eval_every),
        "peak_memory_mib": provenance.peak_memory_mib(),
        "parameters": params and sum(p.size for p in jax.tree.leaves(params)),
        "parameters_sha256": params and provenance.tree_sha256(params),
        "device": provenance.device(),
        "versions": provenance.versions(),
        **run.begun(),
        "command": shlex.join(["python", "-m", "experiments", *arguments]),
    }
