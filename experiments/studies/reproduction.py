"""The paper's MNIST and QM9 runs with filter and decay told apart; REPRODUCTION.md.

``make reproduction``. The runs of a task are a sweep, as many at once as there are
cores; one that is finished is not trained again, so that the tables can be written anew
from the records within seconds.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from experiments.data.source import DataError
from experiments.pictures.bands import QUARTILES_FROM, plot_bands
from experiments.records.run import RecordError, RunDirectory
from experiments.results import markdown as marked
from experiments.results.milestones import first_step
from experiments.results.over_seeds import (
    Time,
    prediction_cell,
    ratio_cell,
    signed_rank,
    spread,
    times_cell,
)
from experiments.settings.config import Config
from experiments.settings.presets import PRESETS
from experiments.studies import grid
from experiments.studies.runs import train
from experiments.tasks import TASKS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "REPRODUCTION.md"
SEEDS = {"mnist": range(5), "qm9": range(10)}
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
"""The four cells; each is the preset of that name behind the task's."""
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
    task: str, seeds: Sequence[int], root: Path, **settings: Any
) -> dict[str, list[RunDirectory]]:
    """The runs of all four cells, trained as far as they are not there yet."""
    configs = [
        Config.of(TASKS[task](), **cell_settings(task, cell) | settings, seed=seed)
        for cell in SETTINGS[task]
        for seed in seeds
    ]
    runs = iter(train(root / task, configs))
    return {cell: [next(runs) for _ in seeds] for cell in SETTINGS[task]}


def cell_settings(task: str, cell: str) -> dict[str, Any]:
    """The settings of a cell, as its preset has them."""
    return PRESETS[task][f"{task}-{cell}"]()


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
    cells = marked.table(
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
    return f"{cells}\n\n{marked.table(columns, effects)}"


def qm9_tables(runs: Cells) -> str:
    """Lowest and final validation losses; then what each factor does to the lowest."""
    rows = [
        [
            SETTINGS["qm9"][cell],
            PUBLISHED_LOSSES.get(cell, "not shown"),
            spread(lowest_losses(cell_runs)),
            spread([_milestone(r, "t_min_validation_loss") for r in cell_runs], ",.0f"),
            times_cell(steps_below(cell_runs, LOSS), cell_runs[0].config()["steps"]),
            spread(_final(cell_runs, "validation_loss")),
            spread(_final(cell_runs, "weight_norm"), ".1f"),
            _seconds(cell_runs),
        ]
        for cell, cell_runs in runs.items()
    ]
    cells = marked.table(
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
    table = marked.table(columns, effects)
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
    return [_milestone(run, "min_validation_loss") for run in runs]


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


def reproduce(task: str, root: Path) -> None:
    """Runs, tables and picture of one task."""
    runs = train_cells(task, SEEDS[task], root)
    marked.put(PAGE, task, _TABLES[task](runs))
    labelled = {SETTINGS[task][cell]: runs[cell] for cell in runs}
    count = len(SEEDS[task])
    edges = "quartiles" if count >= QUARTILES_FROM else "range"
    picture = ROOT / "docs" / f"{task}.png"
    columns = (_COLUMNS[task], "weight_norm")
    title = f"{task.upper()}: median and {edges} of {count} seeds"
    plot_bands(labelled, columns, title).savefig(picture, dpi=120)


PARTS = (*SETTINGS, *(f"{name}-grid" for name in grid.GRIDS))


@click.command()
@click.argument(
    "parts",
    nargs=-1,
    metavar="[PARTS]...",
    type=click.Choice(PARTS),
)
@click.option(
    "--runs",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs/reproduction"),
    show_default=True,
    help="Where the records are.",
)
def main(parts: tuple[str, ...], runs: Path) -> None:
    """Train what is not recorded yet, and write REPRODUCTION.md and its pictures.

    \b
    mnist       filter × decay, 5 seeds of 100,000 steps     30 – 45 minutes
    qm9         the same with 10 seeds                       10 minutes
    mnist-grid  learning rates, decays, filters              10 – 15 minutes
    mul97-grid  the same for x·y mod 97                      35 – 70 minutes

    The data are searched for as by `python -m experiments train`: the environment
    variable GROKFAST_DATA names their directory.
    """  # noqa: D301
    try:
        for part in parts or PARTS:
            if part in SETTINGS:
                reproduce(part, runs)
            else:
                report = grid.report(
                    grid.GRIDS[part.removesuffix("-grid")], runs / part
                )
                marked.put(PAGE, part, report)
    except (DataError, RecordError, OSError) as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
