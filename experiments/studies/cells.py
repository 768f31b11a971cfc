"""What the four cells of filter × decay came to: numbers of runs, cells of tables."""

from collections.abc import Mapping, Sequence

from experiments.records.run import RunDirectory
from experiments.results.milestones import first_step
from experiments.results.over_seeds import Time, ratio_cell, signed_rank, spread

Cells = Mapping[str, Sequence[RunDirectory]]
EFFECTS = {
    "filter, at the small decay": ("baseline", "ema-alone"),
    "filter, at the large decay": ("decay", "ema"),
    "decay, without filter": ("baseline", "decay"),
    "decay, with filter": ("ema-alone", "ema"),
    "both at once, as published": ("baseline", "ema"),
}
"""What is compared with what."""


def steps_to(runs: Sequence[RunDirectory], accuracy: float) -> list[int | None]:
    """First evaluated step at which each run's validation accuracy is that high."""
    tables = [run.metrics() for run in runs]
    return [first_step(t["step"], t["validation_accuracy"], accuracy) for t in tables]


def steps_below(runs: Sequence[RunDirectory], loss: float) -> list[int | None]:
    """First evaluated step at which each run's validation loss is that low."""
    tables = [run.metrics() for run in runs]
    return [first_step(t["step"], -t["validation_loss"], -loss) for t in tables]


def lowest_losses(runs: Sequence[RunDirectory]) -> list[float]:
    """The lowest validation loss of each run."""
    return [run.summary()["milestones"]["min_validation_loss"] for run in runs]


def lowest(runs: Sequence[RunDirectory], column: str) -> list[float]:
    """The lowest value of a column in each run."""
    return [float(run.metrics()[column].min()) for run in runs]


def lowest_steps(runs: Sequence[RunDirectory]) -> list[int]:
    """Where the lowest validation losses are."""
    return [run.summary()["milestones"]["t_min_validation_loss"] for run in runs]


def milestone_of(run: RunDirectory, name: str) -> Time:
    """A milestone of a run."""
    return run.summary()["milestones"][name]


def final(runs: Sequence[RunDirectory], name: str) -> list[float]:
    """What was measured last in each run."""
    return [run.summary()["final"][name] for run in runs]


def seconds(runs: Sequence[RunDirectory]) -> str:
    """A cell: the time that the runs took."""
    return spread([run.summary()["seconds"] for run in runs], ".0f")


def tested(before: Sequence[Time], after: Sequence[Time]) -> str:
    """The ratios seed by seed, and whether chance alone would make them."""
    p = signed_rank(before, after)
    cell = ratio_cell(before, after)
    return cell if p is None else f"{cell}; p = {p:.3f}"


def points(before: Sequence[float], after: Sequence[float]) -> str:
    """Differences seed by seed, in percentage points."""
    points = [100 * (b - a) for a, b in zip(before, after, strict=True)]
    return spread(points, "+.1f").replace("-", "−")
