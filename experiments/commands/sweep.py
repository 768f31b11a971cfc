"""The verb ``sweep``: many runs of a task at once, their table and their pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from experiments.commands.grouped import GroupedCommand
from experiments.commands.options import build, files_of, task_options, tell_idle
from experiments.commands.results import show_sweep
from experiments.commands.shared import (
    checkpoint_seconds_option,
    force_option,
    json_option,
    run_dir_option,
)
from experiments.commands.values import Values
from experiments.files import json_text
from experiments.host.groups import program_key
from experiments.host.loop import SaveEvery
from experiments.host.sweep import WAYS, default_way
from experiments.records.status import UNFINISHED, Exit
from experiments.records.sweep import SweepDirectory
from experiments.screen import console
from experiments.settings.axes import combinations, options_of
from experiments.settings.config import Settings
from experiments.settings.flat import sweep_name, values_of
from experiments.settings.task import Task
from experiments.studies.runs import GOES_ON, read_options, train_lanes
from experiments.tasks import TASKS

_ROWS = 40


class _Sweeps(click.Group):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """``sweep --file FILE``: the task is in the file."""
        if args and args[0].partition("=")[0] == "--file":
            path = args[0].partition("=")[2] or "".join(args[1:2])
            if not path:
                raise click.UsageError("--file needs the path of a file.")
            args = [str(_read(Path(path)).get("task", "")), *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Sweeps)
def sweep() -> None:
    """Train many runs of a task at once: every combination of the values given.

    \b
    sweep modular --seeds 16 --filter none,ema,ma --lamb 1,2,5
    sweep modular --filter none,ema:alpha=0.9:lamb=1,ema+ma --seeds 3
    sweep mnist --seeds 3 --learning-rate 1e-4:1e-2:log --samples 20
    sweep --file experiments/studies/mnist.toml

    Every option of `train` takes several values, separated by commas, or, if it is a
    number, a range LOW:HIGH or LOW:HIGH:log to draw from. Methods may have values of
    their own, and be joined to a chain by +.
    """  # noqa: D301


def _read(path: Path, task: str | None = None) -> dict[str, Any]:
    try:
        return read_options(path, task)
    except ValueError as error:
        raise click.UsageError(f"--file {error}") from None


def _file_option(task: type[Task]) -> Any:
    """Decorator: ``--file``, whose settings any other option overrides."""

    def apply(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
        del param
        if path is None:
            return
        values = _read(path, task.name)
        if values.pop("task", task.name) != task.name:
            raise click.UsageError(f"--file {path} is of another task.")
        names = {
            flag.lstrip("-").replace("-", "_"): param.name
            for param in ctx.command.params
            for flag in param.opts
        }
        if unknown := sorted(values.keys() - names.keys()):
            raise click.UsageError(f"--file {path}: no option {unknown[0]!r}.")
        ctx.default_map = {names[name]: value for name, value in values.items()}

    return click.option(
        "--file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=apply,
        help="A file of options, NAME = VALUE or [VALUE, …], as in TOML; any other "
        "option overrides them.",
    )


def _add(task: type[Task]) -> None:
    @sweep.command(task.name, cls=GroupedCommand, help=task.__doc__)
    @task_options(task, of=Values)
    @_file_option(task)
    @click.option(
        "--seeds",
        type=click.IntRange(1),
        help="So many seeds, from --seed on, crossed with everything else.",
    )
    @click.option(
        "--zip",
        "zipped",
        is_flag=True,
        help="Pair the lists, first with first, instead of crossing them.",
    )
    @click.option(
        "--samples",
        type=click.IntRange(1),
        help="How many times to draw from the ranges.",
    )
    @click.option(
        "--sample-seed",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help="Seed of the draws.",
    )
    @click.option(
        "--way",
        type=click.Choice(("auto", *WAYS)),
        default="auto",
        show_default=True,
        help="placed: each core or accelerator trains lane after lane; vmap, map: "
        "lanes as one program, batched or looped; auto: placed on a CPU, else vmap.",
    )
    @click.option(
        "--cores",
        type=click.IntRange(1),
        help="Lanes at once on a CPU. [default: all cores]",
    )
    @run_dir_option("runs/, named after the settings")
    @force_option
    @checkpoint_seconds_option
    @click.option(
        "--dry-run", is_flag=True, help="Tell what would be trained; train nothing."
    )
    @json_option
    @click.pass_context
    def command(
        ctx: click.Context,
        /,
        seeds: int | None,
        zipped: bool,
        samples: int | None,
        sample_seed: int,
        way: str,
        cores: int | None,
        run_dir: Path | None,
        force: bool,
        checkpoint_seconds: float,
        dry_run: bool,
        as_json: bool,
        **values: Any,
    ) -> None:
        files = files_of(values)
        try:
            rows = combinations(
                options_of(values, seeds),
                zipped=zipped,
                samples=samples,
                sample_seed=sample_seed,
            )
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        settings = build(task, rows)
        tell_idle(ctx, settings)
        way = default_way() if way == "auto" else way
        directory = SweepDirectory(run_dir or Path("runs") / sweep_name(settings))
        if dry_run:
            _print_plan(settings, directory, way, as_json)
            return
        train_lanes(
            directory.path,
            settings,
            files=files,
            way=way,
            at_once=cores,
            force=force,
            silent=as_json,
            save_every=SaveEvery(checkpoint_seconds),
            arguments=ctx.find_root().obj,
        )
        frame = show_sweep(directory, as_json)
        if frame["status"].is_in(UNFINISHED).any():
            if not as_json:
                console.say(f"Interrupted: {GOES_ON}")
            ctx.exit(Exit.INTERRUPTED)


for _task in TASKS.values():
    _add(_task)


def _print_plan(
    settings: Sequence[Settings], directory: SweepDirectory, way: str, as_json: bool
) -> None:
    """What ``--dry-run`` tells."""
    programs = len(set(map(program_key, settings)))
    steps = sum(each.budget.steps for each in settings)
    values = [values_of(each) for each in settings]
    every = dict.fromkeys(name for row in values for name in row)
    names = [n for n in every if len({row[n] for row in values if n in row}) > 1]
    plan = {
        "sweep": str(directory.path),
        "lanes": len(settings),
        "programs": programs,
        "steps": steps,
        "way": way,
        "settings": [{n: row.get(n) for n in names} for row in values],
    }
    if as_json:
        print(json_text(plan))
        return
    if names:
        shown = values[:_ROWS]
        more = f", the first {len(shown)}" if len(shown) < len(settings) else ""
        rows = [[row.get(n) for n in names] for row in shown]
        console.print_table(f"{len(settings)} lanes{more}", names, rows)
    print(
        f"{len(settings)} lane{'s' * (len(settings) > 1)}, {programs} "
        f"program{'s' * (programs > 1)}, {steps:,} steps at most; {way}"
    )
    console.say(f"Would be recorded in {console.place(directory.path)}")
