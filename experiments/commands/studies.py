"""The verbs of studies: grok, the main job; parity; reproduce."""

import sys
from pathlib import Path
from typing import Any

import click

from experiments.commands.options import (
    Maker,
    decorated,
    method_options,
    tell_idle,
)
from experiments.commands.shared import force_option, run_dir_option
from experiments.files import json_text
from experiments.methods.named import settings_of
from experiments.records.status import Exit, exit_code
from experiments.screen import console
from experiments.screen.progress import progress
from experiments.studies import reproduction
from experiments.studies.grok import grok as train_both
from experiments.studies.replay import Replay, ReplayError, load_record, replay
from experiments.tasks.modular import ModularTask


@click.command()
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Seed of both runs.",
)
@run_dir_option("runs/grok")
@force_option
@click.pass_context
def grok(ctx: click.Context, /, seed: int, run_dir: Path | None, force: bool) -> None:
    """The main job: x·y mod 97 with Grokfast-EMA, and as long with plain Adam."""
    directory = run_dir or Path("runs/grok")
    status = train_both(seed, directory, force=force, arguments=ctx.find_root().obj)
    ctx.exit(exit_code(status))


@click.command()
@click.argument("record", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@decorated(method_options(Maker(ModularTask)))
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    default=512,
    show_default=True,
    help="Rows per step of the recorded run.",
)
@click.option(
    "--heads",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Attention heads of the recorded run.",
)
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
    batch_size: int,
    heads: int,
    max_steps: int | None,
    **methods: Any,
) -> None:
    """Replay a RECORD of the published implementation through our training step.

    Compares the loss of every step and the step at which the validation accuracy
    reaches 95 %. The last line printed is one JSON object.
    """
    try:
        settings = settings_of(ModularTask(), **methods)
    except (TypeError, ValueError) as error:
        raise click.UsageError(str(error)) from None
    tell_idle(ctx, [settings])
    try:
        loaded = load_record(record)
        steps = min(len(loaded["step_loss"]), max_steps or sys.maxsize)
        with progress("parity", steps) as show:
            result = replay(
                loaded,
                batch_size=batch_size,
                heads=heads,
                max_steps=max_steps,
                on_evaluation=show,
                **methods,
            )
    except ReplayError as error:
        raise click.UsageError(str(error)) from None
    summary = {"filter": methods["filter"]} | result.summary()
    _print_parity(record, result, summary)
    print(json_text(summary))


def _print_parity(record: Path, result: Replay, summary: dict[str, Any]) -> None:
    rows: list[list[Any]] = [
        [f"loss at step {step}", *(f"{losses[step]:.7f}" for losses in result[:2])]
        for step in (0, 10, 100, 400, 1000, 2000)
        if step < len(result.step_loss)
    ]
    rows += [
        [
            "steps to 95 % validation accuracy",
            summary["steps_to_95"],
            summary["reference_steps_to_95"],
        ],
        [
            "largest relative difference of the loss, 100 steps",
            f"{summary['max_rel_loss_100']:.1e}",
            None,
        ],
        ["… 400 steps", f"{summary['max_rel_loss_400']:.1e}", None],
    ]
    console.print_table(f"Replay of {record.name}", ("", "ours", "record"), rows)


@click.command()
@click.argument(
    "parts", nargs=-1, metavar="[PARTS]...", type=click.Choice(reproduction.PARTS)
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
    """Train what is not recorded yet, and write REPRODUCTION.md and its pictures.

    \b
    mnist       filter × decay, 5 seeds of 100,000 steps     30 – 45 minutes
    qm9         the same with 10 seeds                       10 minutes
    mnist-grid  learning rates, decays, filters              10 – 15 minutes
    mul97-grid  the same for x·y mod 97                      35 – 70 minutes

    The data are searched for as by `train`: the environment variable GROKFAST_DATA
    names their directory.
    """  # noqa: D301
    for part in parts or reproduction.PARTS:
        if not reproduction.reproduce(part, runs):
            console.say("Interrupted: the same command goes on.")
            ctx.exit(Exit.INTERRUPTED)
