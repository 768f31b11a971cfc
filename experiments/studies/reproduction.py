"""The paper's MNIST and QM9 runs with filter and decay told apart; REPRODUCTION.md.

``make reproduction``. The runs of a task are a sweep, whose file is beside this one, as
many at once as there are cores; one that is finished is not trained again, so that the
tables can be written anew from the records within seconds.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from experiments.pictures.bands import QUARTILES_FROM, plot_bands
from experiments.pictures.save import save
from experiments.records.run import RunDirectory
from experiments.results import markdown
from experiments.results.milestones import first_step
from experiments.results.over_seeds import (
    Time,
    prediction_cell,
    ratio_cell,
    signed_rank,
    spread,
    times_cell,
)
from experiments.settings.config import Settings
from experiments.studies import grid
from experiments.studies.runs import Interrupted, read_sweep, train_study

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "REPRODUCTION.md"
SWEEPS = {task: Path(__file__).with_name(f"{task}.toml") for task in ("mnist", "qm9")}
SETTINGS = {
    "mnist": {
        "baseline": "no filter, decay .01",
        "ema-alone": "EMA .8 / .1, decay .01",
        "decay": "no filter, decay 2",
        "ema": "EMA .8 / .1, decay 2",
    },
    "qm9": {
        "baseline": "no filter, no decay",
        "ema-alone": "EMA .9 / 1, no decay",
        "decay": "no filter, decay .01",
        "ema": "EMA .9 / 1, decay .01",
    },
}
"""The four cells, filter × decay."""
EFFECTS = {
    "filter, at the small decay": ("baseline", "ema-alone"),
    "filter, at the large decay": ("decay", "ema"),
    "decay, without filter": ("baseline", "decay"),
    "decay, with filter": ("ema-alone", "ema"),
    "both at once, as published": ("baseline", "ema"),
}
ACCURACY, LOSS = 0.85, 10.0
PUBLISHED_MNIST = {"baseline": "44,022; 89.8%", "ema": "2,001; 91.2%"}
PUBLISHED_LOSSES = {"baseline": "0.00659", "ema": "0.00348"}
AUTHORS_CODE = {"baseline": 45_356, "ema-alone": 42_021, "decay": 2_001, "ema": 2_001}
"""Steps to 85 % by the authors' code, seed 0."""
AUTHORS_ACCURACY = {
    "baseline": "89.9%",
    "ema-alone": "88.6% at 83,000",
    "decay": "90.8%",
    "ema": "90.9%",
}

Cells = Mapping[str, Sequence[RunDirectory]]


def train_cells(
    root: Path, settings: Sequence[Settings]
) -> dict[str, list[RunDirectory]]:
    """The runs of all four cells, trained as far as they are not there yet."""
    cells: dict[str, list[RunDirectory]] = {cell: [] for cell in SETTINGS["mnist"]}
    smallest = min(each.config.optimizer.weight_decay for each in settings)
    for lane in train_study(root, settings):
        cells[cell_of(lane.settings, smallest)].append(lane.run)
    return cells


def cell_of(settings: Settings, smallest_decay: float) -> str:
    """The cell that a run belongs to."""
    if settings.config.optimizer.weight_decay > smallest_decay:
        return "ema" if settings.config.filters else "decay"
    return "ema-alone" if settings.config.filters else "baseline"


def mnist_tables(runs: Cells) -> str:
    """Steps, accuracies and norms of every cell; then what each factor does."""
    rows = []
    for cell, cell_runs in runs.items():
        times, authors = steps_to(cell_runs, ACCURACY), AUTHORS_CODE[cell]
        budget = cell_runs[0].config()["steps"]
        milestone = [_milestone(run, "t_gen_95_of_published") for run in cell_runs]
        rows.append(
            [
                SETTINGS["mnist"][cell],
                PUBLISHED_MNIST.get(cell, "not shown"),
                f"{authors:,}; {AUTHORS_ACCURACY[cell]}",
                times_cell(times, budget),
                prediction_cell(times),
                times_cell(milestone, budget),
                spread(_final(cell_runs, "validation_accuracy"), ".1%"),
                spread(_final(cell_runs, "weight_norm"), ".1f"),
                _seconds(cell_runs),
            ]
        )
    cells = markdown.table(
        (
            "cell",
            "paper",
            "authors' code, seed 0: 85 %; final",
            "steps to 85 %",
            "one more seed: 95 % interval",
            "steps to 95 % of published",
            "final accuracy",
            "final weight norm",
            "seconds",
        ),
        rows,
    )
    effects = [
        [
            name,
            ratio_cell(*(steps_to(runs[cell], ACCURACY) for cell in pair)),
            _points(*(_final(runs[cell], "validation_accuracy") for cell in pair)),
        ]
        for name, pair in EFFECTS.items()
    ]
    columns = ("effect of", "times fewer steps to 85 %", "final accuracy, points more")
    return f"{cells}\n\n{markdown.table(columns, effects)}"


def qm9_tables(runs: Cells) -> str:
    """Lowest and final validation losses; then what each factor does to the lowest."""
    rows = [
        [
            SETTINGS["qm9"][cell],
            PUBLISHED_LOSSES.get(cell, "not shown"),
            spread(lowest_losses(cell_runs)),
            spread(_lowest_steps(cell_runs), ",.0f"),
            times_cell(steps_below(cell_runs, LOSS), cell_runs[0].config()["steps"]),
            spread(_final(cell_runs, "validation_loss")),
            spread(_final(cell_runs, "weight_norm"), ".1f"),
            _seconds(cell_runs),
        ]
        for cell, cell_runs in runs.items()
    ]
    cells = markdown.table(
        (
            "cell",
            "paper (not reproduced)",
            "lowest validation loss, bohr⁶",
            "at step",
            f"steps to a loss of {LOSS:g}",
            "final validation loss",
            "final weight norm",
            "seconds",
        ),
        rows,
    )
    effects = [
        [
            name,
            _tested(*(lowest_losses(runs[cell]) for cell in pair)),
            _tested(*(steps_below(runs[cell], LOSS) for cell in pair)),
        ]
        for name, pair in EFFECTS.items()
    ]
    columns = (
        "effect of",
        "times lower lowest validation loss",
        f"times fewer steps to a loss of {LOSS:g}",
    )
    table = markdown.table(columns, effects)
    return f"{cells}\n\n{table}"


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


def _lowest_steps(runs: Sequence[RunDirectory]) -> list[int]:
    return [run.summary()["milestones"]["t_min_validation_loss"] for run in runs]


def _milestone(run: RunDirectory, name: str) -> Time:
    return run.summary()["milestones"][name]


def _final(runs: Sequence[RunDirectory], name: str) -> list[float]:
    return [run.summary()["final"][name] for run in runs]


def _seconds(runs: Sequence[RunDirectory]) -> str:
    return spread([run.summary()["seconds"] for run in runs], ".0f")


def _tested(before: Sequence[Time], after: Sequence[Time]) -> str:
    """The ratios seed by seed, and whether chance alone would make them."""
    p = signed_rank(before, after)
    cell = ratio_cell(before, after)
    return cell if p is None else f"{cell}; p = {p:.3f}"


def _points(before: Sequence[float], after: Sequence[float]) -> str:
    """Differences seed by seed, in percentage points."""
    points = [100 * (b - a) for a, b in zip(before, after, strict=True)]
    return spread(points, "+.1f").replace("-", "−")


_TABLES: dict[str, Callable[[Cells], str]] = {"mnist": mnist_tables, "qm9": qm9_tables}
_COLUMNS = {"mnist": "validation_accuracy", "qm9": "validation_loss"}


def _reproduce_cells(task: str, root: Path) -> None:
    """Runs, tables and picture of one task."""
    runs = train_cells(root / task, read_sweep(SWEEPS[task]))
    markdown.put(PAGE, task, _TABLES[task](runs))
    labelled = {SETTINGS[task][cell]: of_cell for cell, of_cell in runs.items()}
    count = len(runs["baseline"])
    edges = "quartiles" if count >= QUARTILES_FROM else "range"
    columns = (_COLUMNS[task], "weight_norm")
    title = f"{task.upper()}: median and {edges} of {count} seeds"
    save(plot_bands(labelled, columns, title), ROOT / "docs" / f"{task}.png")


PARTS = (*SETTINGS, *(f"{name}-grid" for name in grid.GRIDS))


def reproduce(part: str, root: Path) -> bool:
    """Train what is not recorded yet of a part, and write its tables and pictures.

    Args:
      part: one of :data:`PARTS`.
      root: where the records are.

    Returns:
      Whether it is complete: False if it was interrupted.
    """
    try:
        if part in SETTINGS:
            _reproduce_cells(part, root)
        else:
            report = grid.report(grid.GRIDS[part.removesuffix("-grid")], root / part)
            markdown.put(PAGE, part, report)
    except Interrupted:
        return False
    return True
