"""The command line: ``python -m experiments VERB …``.

Exit codes: 0 done, 1 stopped by an error of the system (such as a full disk),
2 unusable arguments, 3 the run diverged, 130 interrupted.
"""

import contextlib
import dataclasses
import json
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import jax
import numpy as np

from experiments.commands.filters import show_response, show_spectrum
from experiments.commands.options import (
    GroupedCommand,
    add_options,
    build_config,
    checkpoint_seconds_option,
    force_option,
    json_option,
    run_dir_option,
    task_options,
    warn_of_idle_options,
)
from experiments.commands.read import compare, list_runs, plot, show
from experiments.commands.sweep import sweep
from experiments.data.source import DataError
from experiments.host import loop as runner
from experiments.host.recorder import DIVERGED
from experiments.records.run import INTERRUPTED, RecordError, RunDirectory, run_name
from experiments.records.tensorboard import check_tensorboard, write_tensorboard
from experiments.screen import console
from experiments.settings.config import Config, FilterOptions, OptimizerOptions
from experiments.studies.grok import grok as run_grok
from experiments.studies.replay import Replay, load_record, replay
from experiments.tasks import TASKS, Task

_EXIT_INTERRUPTED = 130
_EXIT_CODES = {DIVERGED: 3, INTERRUPTED: _EXIT_INTERRUPTED}


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
def cli() -> None:
    """Train the tasks on which grokking is studied, with and without Grokfast.

    Start with: train modular --filter ema --weight-decay 0.005
    """


@cli.group()
def train() -> None:
    """Train one run of a task and record it."""


def _add_train_command(task: type[Task]) -> None:
    @train.command(task.name, cls=GroupedCommand, help=task.__doc__)
    @task_options(task)
    @run_dir_option("runs/, named after the settings")
    @force_option
    @checkpoint_seconds_option
    @click.option(
        "--checkpoint-steps",
        type=click.IntRange(1),
        help="Steps between checkpoints, instead of by time.",
    )
    @click.option(
        "--tensorboard",
        is_flag=True,
        help="Also write the metrics to RUN_DIR/tensorboard (needs tensorboardX).",
    )
    @click.option(
        "--dry-run",
        is_flag=True,
        help="Print the settings, the number of parameters and the memory needed; "
        "train nothing.",
    )
    @json_option
    @click.pass_context
    def command(
        ctx: click.Context,
        run_dir: Path | None,
        force: bool,
        checkpoint_seconds: float,
        checkpoint_steps: int | None,
        tensorboard: bool,
        dry_run: bool,
        as_json: bool,
        **values: Any,
    ) -> None:
        config = build_config(task, values)
        warn_of_idle_options(ctx)
        run = RunDirectory(run_dir or Path("runs") / run_name(config))
        if dry_run:
            _print_plan(config, run, as_json)
            return
        if tensorboard:
            check_tensorboard()
        runner.check_memory(config)
        # An error of the data comes before there is a record.
        data = None if run.is_finished(config) and not force else config.task.load()
        with run.lock():
            if run.prepare(config, force=force):
                label = f"{config.task.name}, {config.filter.filter}"
                with console.progress(
                    label, config.training.steps, silent=as_json
                ) as show:
                    runner.train(
                        config,
                        run,
                        data=data,
                        on_evaluation=show,
                        checkpoint_seconds=checkpoint_seconds,
                        checkpoint_steps=checkpoint_steps,
                        arguments=ctx.find_root().obj,
                    )
            elif not as_json:
                console.console.print("This run is finished.")
            summary = run.summary()
            if tensorboard:
                write_tensorboard(run)
        if as_json:
            print(json.dumps({"run": str(run.path)} | summary))
        else:
            console.print_summary(summary, run.path)
            if summary["status"] == INTERRUPTED:
                console.console.print(
                    "Interrupted: the same command, without --force, goes on."
                )
        ctx.exit(_EXIT_CODES.get(summary["status"], 0))


for _task in TASKS.values():
    _add_train_command(_task)


def _print_plan(config: Config, run: RunDirectory, as_json: bool) -> None:
    """What ``--dry-run`` tells."""
    sizes = runner.state_bytes(config)
    plan = {
        "run": str(run.path),
        "config": config.asdict(),
        "parameters": sizes["parameters"] // np.dtype(config.training.dtype).itemsize,
        "state_bytes": sizes,
        "expected_memory_bytes": runner.expected_memory(config),
    }
    if as_json:
        print(json.dumps(plan))
        return
    console.print_table("Settings", ("", "value"), list(config.asdict().items()))
    rows = [[f"parameters ({config.training.dtype})", plan["parameters"]]]
    rows += [[f"{name}: MiB", f"{b / 2**20:.2f}"] for name, b in sizes.items()]
    rows.append(
        ["expected memory: MiB", f"{plan['expected_memory_bytes'] / 2**20:.2f}"]
    )
    console.print_table(
        "Parameters, state of filter and run, and all that training needs",
        ("", "value"),
        rows,
    )
    console.console.print(f"Would be recorded in {run.path}", soft_wrap=True)


@cli.command(cls=GroupedCommand)
@click.argument("record", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@add_options(("Filter", FilterOptions), ("Optimizer", OptimizerOptions))
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
    record: Path,
    batch_size: int,
    heads: int,
    max_steps: int | None,
    **values: Any,
) -> None:
    """Replay a RECORD of the published implementation through our training step.

    Compares the loss of every step and the step at which the validation accuracy
    reaches 95 %. The last line printed is one JSON object.
    """
    try:
        loaded = load_record(record)
        steps = min(len(loaded["step_loss"]), max_steps or sys.maxsize)
        filter_options, optimizer_options = (
            cls(**{field.name: values[field.name] for field in dataclasses.fields(cls)})
            for cls in (FilterOptions, OptimizerOptions)
        )
        warn_of_idle_options(ctx)
        with console.progress("parity", steps) as show:
            result = replay(
                loaded,
                filter_options,
                optimizer_options,
                batch_size=batch_size,
                heads=heads,
                max_steps=max_steps,
                on_evaluation=show,
            )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    summary = {"filter": filter_options.filter} | result.summary()
    _print_parity(record, result, summary)
    print(json.dumps(summary))


def _print_parity(record: Path, result: Replay, summary: dict[str, Any]) -> None:
    rows = [
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


@cli.command()
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
def grok(ctx: click.Context, seed: int, run_dir: Path | None, force: bool) -> None:
    """The main job: x·y mod 97 with Grokfast-EMA, and as long with plain Adam."""
    directory = run_dir or Path("runs/grok")
    status = run_grok(seed, directory, force=force, arguments=ctx.find_root().obj)
    ctx.exit(_EXIT_CODES.get(status, 0))


for _command in (
    sweep,
    list_runs,
    show,
    plot,
    compare,
    show_response,
    show_spectrum,
):
    cli.add_command(_command)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; errors become one line on stderr and an exit code."""
    try:
        arguments = sys.argv[1:] if arguments is None else arguments
        with _sigterm_as_interrupt():
            code = cli.main(
                arguments, "python -m experiments", standalone_mode=False, obj=arguments
            )
        return code or 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 2
    except click.ClickException as error:
        message = " ".join(error.format_message().split())
        click.echo(f"error: {message}", err=True)
        return 2
    except (DataError, RecordError) as error:
        click.echo(f"error: {error}", err=True)
        return 2
    except (OSError, MemoryError, jax.errors.JaxRuntimeError) as error:
        message = str(error).splitlines()[0] if str(error) else "out of memory"
        click.echo(f"error: {message}", err=True)
        return 1
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted: the same command, without --force, goes on.", err=True)
        return _EXIT_INTERRUPTED


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """SIGTERM as Ctrl-C, where training does not handle it: while compiling, say."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
