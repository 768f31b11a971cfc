"""The verbs of studies: grok, the main job; parity; reproduce."""

import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
from click.core import ParameterSource

from experiments.commands.options import (
    Maker,
    decorated,
    files_of,
    method_options,
    tell_idle,
)
from experiments.commands.shared import force_option, run_dir_option
from experiments.files import json_text
from experiments.methods.named import settings_of
from experiments.records.status import Exit, exit_code
from experiments.screen import console
from experiments.screen.progress import progress
from experiments.settings.files import Files
from experiments.settings.flat import values_of
from experiments.studies import reproduction
from experiments.studies.grok import grok as train_all
from experiments.studies.make_record import make_record
from experiments.studies.recorded_imdb import is_of_imdb, recorded_imdb
from experiments.studies.recorded_modular import recorded_modular
from experiments.studies.recorded_qm9 import is_of_qm9, recorded_qm9
from experiments.studies.replay import (
    Replay,
    ReplayError,
    check_settings,
    load_record,
    replay,
)
from experiments.tasks.modular import ModularTask


@click.command()
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=2,
    show_default=True,
    help="Seed of the runs; with 2 the filter does about what it does in the median.",
)
@run_dir_option("runs/grok")
@force_option
@click.pass_context
def grok(ctx: click.Context, /, seed: int, run_dir: Path | None, force: bool) -> None:
    """The main job: x·y mod 97 with filter and decay, the decay alone, neither."""
    directory = run_dir or Path("runs/grok")
    status = train_all(seed, directory, force=force, arguments=ctx.find_root().obj)
    ctx.exit(exit_code(status))


@click.command()
@click.argument("record", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--make",
    is_flag=True,
    help="Write RECORD instead: a run of ours of x·y mod 97, seed 0, of --max-steps "
    "steps, 100 by default. The same command without --make replays it.",
)
@decorated(method_options(Maker()))
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    default=512,
    show_default=True,
    help="Rows per step of a recorded run of x·y mod p.",
)
@click.option(
    "--heads",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Its attention heads.",
)
@decorated(Maker().group("Molecules of a recorded run of QM9", Files))
@click.option(
    "--max-steps",
    type=click.IntRange(1),
    help="Replay only so many steps. [default: all]",
)
@click.pass_context
def parity(
    ctx: click.Context,
    /,
    record: Path,
    make: bool,
    batch_size: int,
    heads: int,
    max_steps: int | None,
    **methods: Any,
) -> None:
    """Replay a RECORD of another program's run through our training step.

    A record is an .npz of initial weights, split, batches and losses, as written from
    the published PyTorch code with recorders around it (docs/running.md). To
    try it, or to compare machines and versions, --make writes one from a run of ours;
    it holds the settings too, and other ones are refused.

    Compares the loss of every step, and the step at which the validation accuracy
    reaches 95 %; of QM9, with its optimizer AdamW, the lowest validation loss and the
    lowest loss of a batch ÷ its size; of IMDb losses and norms at every tenth step. The
    last line printed is one JSON object.
    """
    files = files_of(methods)
    if ctx.get_parameter_source("optimizer") == ParameterSource.DEFAULT:
        del methods["optimizer"]  # the task's own
    if make:
        _make(record, max_steps or 100, heads, batch_size, methods)
        return
    if not record.exists():
        raise click.UsageError(
            f"there is no record {record}; parity --make {record} writes one from a "
            "run of ours."
        )
    try:
        loaded = load_record(record)
        if is_of_qm9(loaded):
            recorded = recorded_qm9(loaded, methods["filter"], files)
        elif is_of_imdb(loaded):
            recorded = recorded_imdb(loaded, methods["filter"])
        else:
            recorded = recorded_modular(
                loaded, batch_size=batch_size, heads=heads, max_steps=max_steps
            )
    except ReplayError as error:
        raise click.UsageError(f"{record}: {error}") from None
    try:
        settings = settings_of(recorded.task, batch_size=recorded.batch_size, **methods)
        check_settings(loaded, values_of(settings))
    except (TypeError, ValueError) as error:
        raise click.UsageError(str(error)) from None
    tell_idle(ctx, [settings])
    steps = min(len(recorded.step_loss), max_steps or sys.maxsize)
    with progress("parity", steps) as show:
        result = replay(recorded, max_steps=max_steps, on_evaluation=show, **methods)
    summary = {"filter": methods["filter"]} | result.summary()
    _print_parity(record, result, summary)
    print(json_text(summary))


def _make(
    record: Path, steps: int, heads: int, batch_size: int, methods: dict[str, Any]
) -> None:
    if record.suffix != ".npz":
        raise click.UsageError(f"RECORD must end in .npz, got {record}.")
    if record.exists():
        raise click.UsageError(f"{record} is there already: give another name.")
    try:
        task = ModularTask(heads=heads)
        settings_of(task, **methods)
    except (TypeError, ValueError) as error:
        raise click.UsageError(str(error)) from None
    with progress("parity", steps) as show:
        arrays: dict[str, Any] = make_record(
            task, steps, batch_size=batch_size, on_evaluation=show, **methods
        )
    record.parent.mkdir(parents=True, exist_ok=True)
    np.savez(record, **arrays)
    console.say(f"wrote {console.place(record)}")


_OUTCOMES = {
    "steps_to_95": "steps to 95 % validation accuracy",
    "lowest_validation_loss": "lowest validation loss",
    "lowest_batch_quotient": "lowest loss of a validation batch ÷ its size",
    "lowest_batch_loss": "lowest loss of a validation batch",
    "lowest_next_gradient_norm": "lowest norm of a gradient",
    "lowest_weight_norm": "lowest norm of the weights",
}


def _print_parity(record: Path, result: Replay, summary: dict[str, Any]) -> None:
    rows: list[list[Any]] = [
        [f"loss at step {step}", *(f"{losses[step]:.7f}" for losses in result[:2])]
        for step in (0, 10, 100, 400, 1000, 2000)
        if step < len(result.step_loss)
    ]
    rows += [
        [words, summary[name], summary[f"reference_{name}"]]
        for name, words in _OUTCOMES.items()
        if name in summary
    ]
    rows += [
        [
            "largest relative difference of the loss, 100 steps",
            f"{summary['max_rel_loss_100']:.1e}",
            None,
        ],
        ["… 400 steps", f"{summary['max_rel_loss_400']:.1e}", None],
        ["… all", f"{summary['max_rel_loss']:.1e}", None],
    ]
    title = f"Replay of {console.place(record.name)}"
    console.print_table(title, ("", "ours", "record"), rows)


@click.command()
@click.argument(
    "parts", nargs=-1, metavar="[PARTS]...", type=click.Choice(reproduction.PAGES)
)
@click.option(
    "--runs",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs/reproduction"),
    show_default=True,
    help="Where the records are.",
)
@click.pass_context
def reproduce(ctx: click.Context, /, parts: tuple[str, ...], runs: Path) -> None:
    """Train what is not recorded yet, and write the pages of docs/studies.

    \b
    mnist       filter × decay, 5 seeds of 100,000 steps     30 – 45 minutes
    qm9         the same with 10 seeds                       10 minutes
    imdb        the same, the first 2,000 steps, 2 seeds     40 minutes
    mnist-grid  learning rates, decays, filters              10 – 15 minutes
    mul97-grid  the same for x·y mod 97                      35 – 70 minutes

    The data are searched for as by `train`: the environment variable GROKFAST_DATA
    names their directory.
    """  # noqa: D301
    if not all(page.is_file() for page in reproduction.PAGES.values()):
        raise click.UsageError(
            "reproduce writes the pages docs/studies/*.md of a clone, and they are not "
            "beside this package: run it in a clone, with its sources (pip install -e)."
        )
    for part in parts or reproduction.PAGES:
        if not reproduction.reproduce(part, runs):
            console.say("Interrupted: the same command goes on.")
            ctx.exit(Exit.INTERRUPTED)
