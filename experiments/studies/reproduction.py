"""The paper's other runs with filter and decay told apart; docs/studies/.

``make reproduction``. The runs of a task are a sweep, whose file is beside this one, as
many at once as there are cores; one that is finished is not trained again, so that the
tables can be written anew from the records within seconds.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from experiments.methods.batches import BatchQuotient
from experiments.pictures.bands import QUARTILES_FROM, plot_bands
from experiments.pictures.save import save
from experiments.records.run import RunDirectory
from experiments.results import markdown
from experiments.results.over_seeds import (
    prediction_cell,
    ratio_cell,
    spread,
    times_cell,
)
from experiments.settings.config import Settings
from experiments.studies import grid
from experiments.studies.cells import (
    EFFECTS,
    Cells,
    final,
    lowest,
    lowest_losses,
    lowest_steps,
    milestone_of,
    points,
    seconds,
    steps_below,
    steps_to,
    tested,
)
from experiments.studies.imdb import imdb_tables
from experiments.studies.runs import Interrupted, read_sweep, train_study

ROOT = Path(__file__).parents[2]
PAGES = {
    part: ROOT / "docs" / "studies" / f"{part.replace('-grid', '-tuned')}.md"
    for part in ("mnist", "qm9", "imdb", "mnist-grid", "mul97-grid")
}
"""The page of every part, whose tables it writes between marks."""
SWEEPS = {
    task: Path(__file__).with_name(f"{task}.toml") for task in ("mnist", "qm9", "imdb")
}
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
    "imdb": {
        "baseline": "no filter, decay 1",
        "ema-alone": "EMA .98 / 2, decay 1",
        "decay": "no filter, decay 10",
        "ema": "EMA .98 / 2, decay 10",
    },
}
"""The four cells, filter × decay."""
ACCURACY, LOSS = 0.85, 10.0
PUBLISHED_MNIST = {"baseline": "44,022; 89.8%", "ema": "2,001; 91.2%"}
PUBLISHED_LOSSES = {"baseline": "0.00659", "ema": "0.00348"}
AUTHORS_QUOTIENTS = {
    "baseline": (0.0039, 0.0031, 0.0241, 0.0099, 0.0041),
    "ema": (0.0136, 0.0035, 0.0050, 0.0082, 0.0025),
}
"""Lowest loss of a validation batch of 32 ÷ 32 over 50,000 epochs, from the starts and
batch orders of the authors' code, seeds 0 – 4."""
AUTHORS_CODE = {"baseline": 45_356, "ema-alone": 42_021, "decay": 2_001, "ema": 2_001}
"""Steps to 85 % by the authors' code, seed 0."""
AUTHORS_ACCURACY = {
    "baseline": "89.9%",
    "ema-alone": "88.6% at 83,000",
    "decay": "90.8%",
    "ema": "90.9%",
}


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
        milestone = [milestone_of(run, "t_gen_95_of_published") for run in cell_runs]
        rows.append(
            [
                SETTINGS["mnist"][cell],
                PUBLISHED_MNIST.get(cell, "not shown"),
                f"{authors:,}; {AUTHORS_ACCURACY[cell]}",
                times_cell(times, budget),
                prediction_cell(times),
                times_cell(milestone, budget),
                spread(final(cell_runs, "validation_accuracy"), ".1%"),
                spread(final(cell_runs, "weight_norm"), ".1f"),
                seconds(cell_runs),
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
            points(*(final(runs[cell], "validation_accuracy") for cell in pair)),
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
            spread(lowest_steps(cell_runs), ",.0f"),
            times_cell(steps_below(cell_runs, LOSS), cell_runs[0].config()["steps"]),
            spread(final(cell_runs, "validation_loss")),
            spread(final(cell_runs, "weight_norm"), ".1f"),
            seconds(cell_runs),
        ]
        for cell, cell_runs in runs.items()
    ]
    cells = markdown.table(
        (
            "cell",
            "paper (another quantity)",
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
            tested(*(lowest_losses(runs[cell]) for cell in pair)),
            tested(*(steps_below(runs[cell], LOSS) for cell in pair)),
        ]
        for name, pair in EFFECTS.items()
    ]
    columns = (
        "effect of",
        "times lower lowest validation loss",
        f"times fewer steps to a loss of {LOSS:g}",
    )
    table = markdown.table(columns, effects)
    return f"{cells}\n\n{table}\n\n{qm9_quotients(runs)}"


def qm9_quotients(runs: Cells) -> str:
    """What the published losses of QM9 probably are, beside ours.

    Of fewer batches the lowest is higher: an extreme value of noise.
    """
    both = ("baseline", "ema")
    columns = [
        [list(AUTHORS_QUOTIENTS[cell]) for cell in both],
        *(
            [lowest(runs[cell], column) for cell in both]
            for column in ("lowest_batch_quotient", "batch_quotient")
        ),
    ]
    evaluations = len(runs["baseline"][0].metrics()["step"])
    rows = [
        [
            SETTINGS["qm9"][cell],
            PUBLISHED_LOSSES[cell],
            *(spread(lowest[i], ".4f") for lowest in columns),
        ]
        for i, cell in enumerate(both)
    ]
    before, after = (float(PUBLISHED_LOSSES[cell]) for cell in both)
    ratios = [ratio_cell(*lowest) for lowest in columns]
    rows.append(["times lower with both", f"{before / after:.2f}", *ratios])
    return markdown.table(
        (
            "lowest loss of a validation batch of 32 ÷ 32",
            "paper",
            "authors' starts and orders, 5 seeds, 50,000 batches",
            f"ours, {BatchQuotient().count * evaluations:,} batches",
            f"ours, {evaluations:,} of them",
        ),
        rows,
    )


_TABLES: dict[str, Callable[[Cells], str]] = {
    "mnist": mnist_tables,
    "qm9": qm9_tables,
    "imdb": lambda runs: imdb_tables(runs, SETTINGS["imdb"]),
}
_COLUMNS = {
    "mnist": "validation_accuracy",
    "qm9": "validation_loss",
    "imdb": "validation_accuracy",
}


def _reproduce_cells(task: str, root: Path) -> None:
    """Runs, tables and picture of one task."""
    runs = train_cells(root / task, read_sweep(SWEEPS[task]))
    markdown.put(PAGES[task], task, _TABLES[task](runs))
    labelled = {SETTINGS[task][cell]: of_cell for cell, of_cell in runs.items()}
    count = len(runs["baseline"])
    edges = "quartiles" if count >= QUARTILES_FROM else "range"
    columns = (_COLUMNS[task], "weight_norm")
    title = f"{task.upper()}: median and {edges} of {count} seeds"
    save(plot_bands(labelled, columns, title), ROOT / "docs" / f"{task}.png")


def reproduce(part: str, root: Path) -> bool:
    """Train what is not recorded yet of a part, and write its tables and pictures.

    Args:
      part: one of :data:`PAGES`.
      root: where the records are.

    Returns:
      Whether it is complete: False if it was interrupted.
    """
    try:
        if part in SETTINGS:
            _reproduce_cells(part, root)
        else:
            report = grid.report(grid.GRIDS[part.removesuffix("-grid")], root / part)
            markdown.put(PAGES[part], part, report)
    except Interrupted:
        return False
    return True
