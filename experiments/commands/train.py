"""The verb ``train``: one run of a task."""

from pathlib import Path
from typing import Any

import click
import numpy as np

from experiments.commands.grouped import GroupedCommand
from experiments.commands.options import build, files_of, task_options, tell_idle
from experiments.commands.shared import (
    checkpoint_seconds_option,
    force_option,
    json_option,
    run_dir_option,
)
from experiments.files import json_text
from experiments.host import limits
from experiments.host.loop import SaveEvery
from experiments.records.run import RunDirectory, place_of
from experiments.records.status import Status, exit_code
from experiments.records.tensorboard import check_tensorboard, write_tensorboard
from experiments.screen import console
from experiments.settings.config import Settings
from experiments.settings.flat import values_of
from experiments.settings.task import Data, Task
from experiments.studies.runs import GOES_ON, train_run
from experiments.tasks import TASKS


@click.group()
def train() -> None:
    """Train one run of a task and record it."""


def _add(task: type[Task]) -> None:
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
        /,
        run_dir: Path | None,
        force: bool,
        checkpoint_seconds: float,
        checkpoint_steps: int | None,
        tensorboard: bool,
        dry_run: bool,
        as_json: bool,
        **values: Any,
    ) -> None:
        files = files_of(values)
        (settings,) = build(task, [values])
        tell_idle(ctx, [settings])
        run = RunDirectory(run_dir) if run_dir else place_of(Path("runs"), settings)
        if dry_run:
            data = settings.config.task.load(files)
            _print_plan(settings, run, data, as_json)
            return
        if tensorboard:
            check_tensorboard()
        has_trained = train_run(
            settings,
            run,
            files=files,
            label=f"{task.name}, {values_of(settings)['filter']}",
            force=force,
            silent=as_json,
            save_every=SaveEvery(checkpoint_seconds, checkpoint_steps),
            arguments=ctx.find_root().obj,
        )
        if not has_trained and not as_json:
            console.say("This run is finished.")
        summary = run.summary()
        if tensorboard:
            write_tensorboard(run)
        if as_json:
            print(json_text({"run": str(run.path)} | summary))
        else:
            console.print_summary(summary, run.facts().milestones, run.path)
            if summary["status"] == Status.INTERRUPTED:
                console.say(f"Interrupted: {GOES_ON}")
        ctx.exit(exit_code(summary["status"]))


for _task in TASKS.values():
    _add(_task)


def _print_plan(
    settings: Settings, run: RunDirectory, data: Data, as_json: bool
) -> None:
    """What ``--dry-run`` tells."""
    config = settings.config
    sizes = limits.state_bytes(config, data)
    parameters = sizes.parameters // np.dtype(config.training.dtype).itemsize
    memory = limits.expected_memory(settings, data).total
    if as_json:
        plan = {
            "run": str(run.path),
            "config": values_of(settings),
            "parameters": parameters,
            "state_bytes": sizes._asdict(),
            "expected_memory_bytes": memory,
        }
        print(json_text(plan))
        return
    console.print_table("Settings", ("", "value"), list(values_of(settings).items()))
    rows: list[list[Any]] = [[f"parameters ({config.training.dtype})", parameters]]
    names = ("parameters", "filter", "total")
    rows += [[name, limits.in_units(getattr(sizes, name))] for name in names]
    rows.append(["expected memory", limits.in_units(memory)])
    console.print_table(
        "Parameters, state of filter and run, and all that training needs",
        ("", "value"),
        rows,
    )
    console.say(f"Would be recorded in {console.place(run.path)}")
