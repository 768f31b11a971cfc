"""The tables of IMDb, filter × decay; docs/studies/imdb.md."""

from collections.abc import Mapping, Sequence

from experiments.methods.batches import RandomBatch
from experiments.records.run import RunDirectory
from experiments.results import markdown
from experiments.results.over_seeds import ratio_cell, spread, times_cell
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
)

PUBLISHED = {"baseline": ".84; .517", "ema": ".90; .412"}
"""Best accuracy and lowest loss of single random batches of 50."""


def imdb_tables(runs: Cells, names: Mapping[str, str]) -> str:
    """Best and final scores of every cell; then what each factor does to them."""
    rows = [
        [
            names[cell],
            times_cell(
                [milestone_of(run, "t_fit_99") for run in of_cell], _steps(runs)
            ),
            spread(_highest(of_cell, "validation_accuracy"), ".1%"),
            spread(lowest_losses(of_cell), ".3f"),
            spread(lowest_steps(of_cell), ",.0f"),
            spread(final(of_cell, "validation_accuracy"), ".1%"),
            spread(final(of_cell, "validation_loss"), ".3f"),
            spread(final(of_cell, "weight_norm"), ",.0f"),
            seconds(of_cell),
        ]
        for cell, of_cell in runs.items()
    ]
    cells = markdown.table(
        (
            "cell",
            "steps to 99 % training accuracy",
            "best validation accuracy",
            "lowest validation loss",
            "at step",
            "final validation accuracy",
            "final validation loss",
            "final weight norm",
            "seconds",
        ),
        rows,
    )
    effects = [
        [
            name,
            points(*(_highest(runs[cell], "validation_accuracy") for cell in pair)),
            ratio_cell(*(lowest_losses(runs[cell]) for cell in pair)),
        ]
        for name, pair in EFFECTS.items()
    ]
    columns = (
        "effect of",
        "best validation accuracy, points more",
        "times lower lowest validation loss",
    )
    tables = cells, markdown.table(columns, effects), _batches(runs, names)
    return "\n\n".join(tables)


def _batches(runs: Cells, names: Mapping[str, str]) -> str:
    """The published quantities: of more batches the best is better, by chance."""
    evaluations = len(runs["baseline"][0].metrics()["step"])
    rows = [
        [
            names[cell],
            PUBLISHED.get(cell, "not shown"),
            *(
                f"{spread(_highest(of_cell, accuracy), '.2f')}; "
                f"{spread(lowest(of_cell, loss), '.3f')}"
                for accuracy, loss in (
                    ("highest_batch_accuracy", "lowest_batch_loss"),
                    ("batch_accuracy", "batch_loss"),
                )
            ),
        ]
        for cell, of_cell in runs.items()
    ]
    return markdown.table(
        (
            "best accuracy; lowest loss of a random batch of 50",
            "paper, some 10,000 batches",
            f"ours, {RandomBatch().count * evaluations:,} batches",
            f"ours, {evaluations:,} of them",
        ),
        rows,
    )


def _highest(runs: Sequence[RunDirectory], column: str) -> list[float]:
    return [float(run.metrics()[column].max()) for run in runs]


def _steps(runs: Cells) -> int:
    return int(runs["baseline"][0].config()["steps"])
