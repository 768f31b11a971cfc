"""The verb ``sweep``: many runs of a task at once, their table and their pictures."""

import hashlib
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import polars as pl

from experiments.commands.options import (
    GroupedCommand,
    checkpoint_seconds_option,
    force_option,
    json_option,
    run_dir_option,
    task_options,
    warn_of_idle_options,
)
from experiments.host import loop as runner
from experiments.host.sweep import (
    WAYS,
    default_way,
    lanes_of,
    program_key,
    train_sweep,
)
from experiments.pictures.sweep import plot_sweep
from experiments.records.run import INTERRUPTED, run_name
from experiments.results.table import (
    NOT_STARTED,
    SweepDirectory,
    by_setting,
    is_time,
    matters,
    milestone_of,
    short,
    swept,
)
from experiments.screen import console
from experiments.screen.progress import sweep_progress
from experiments.settings.axes import Range, Values, combinations, configurations
from experiments.settings.config import Config
from experiments.tasks import TASKS, Task

_ROWS = 20
_INTERRUPTED = 130


@click.group()
def sweep() -> None:
    """Train many runs of a task at once: every combination of the values given.

    \b
    sweep modular --seeds 16 --filter ema --alpha 0.9,0.98 --lamb 1,2,5
    sweep mnist --seeds 3 --learning-rate 1e-4:1e-2:log --samples 20

    Every option of `train` takes several values, separated by commas, or, if it is a
    number, a range LOW:HIGH or LOW:HIGH:log to draw from.
    """  # noqa: D301


def add_sweep_command(task: type[Task]) -> None:
    """Add ``sweep TASK``."""

    @sweep.command(task.name, cls=GroupedCommand, help=task.__doc__)
    @task_options(task, of=Values)
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
        try:
            options = {n: (v,) if not _is_many(v) else v for n, v in values.items()}
            _check(options)
            _add_seeds(options, seeds)
            settings = combinations(
                options, zipped=zipped, samples=samples, sample_seed=sample_seed
            )
            configs = configurations(task, settings)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        warn_of_idle_options(ctx)
        way = default_way() if way == "auto" else way
        directory = SweepDirectory(run_dir or Path("runs") / _name(configs))
        if dry_run:
            _print_plan(configs, directory, way, as_json)
            return
        for config in {c.static(): c for c in configs}.values():
            runner.check_memory(config)
        directory.write_plan(
            lanes_of(directory.path, configs),
            shlex.join(["python", "-m", "experiments", *ctx.find_root().obj]),
        )
        with sweep_progress(
            len(configs),
            {run_name(c): c.training.steps for c in configs},
            silent=as_json,
        ) as progress:
            train_sweep(
                directory.path,
                configs,
                way=way,
                progress=progress,
                at_once=cores,
                force=force,
                checkpoint_seconds=checkpoint_seconds,
                arguments=ctx.find_root().obj,
            )
        frame = show_sweep(directory, as_json)
        if frame["status"].is_in([INTERRUPTED, NOT_STARTED]).any():
            if not as_json:
                console.console.print(
                    "Interrupted: the same command, without --force, goes on."
                )
            ctx.exit(_INTERRUPTED)


for _task in TASKS.values():
    add_sweep_command(_task)


def show_sweep(directory: SweepDirectory, as_json: bool) -> pl.DataFrame:
    """Write table and pictures from the records, and print what the seeds say."""
    frame = directory.write_table()
    pictures = plot_sweep(directory.path, frame)
    rows = by_setting(frame)
    if as_json:
        counts = dict(frame["status"].value_counts().iter_rows())
        found = {"sweep": str(directory.path), "lanes": len(frame), "status": counts}
        print(json.dumps(found | {"milestone": milestone_of(frame), "settings": rows}))
        return frame
    milestone, names = milestone_of(frame), swept(frame)
    columns = [*names, "lanes", "median", "range", "at the end"]
    if is_time(milestone):
        columns.insert(-3, "reached")
    unfinished = any(row["unfinished"] for row in rows)
    if unfinished:
        columns.append("unfinished")
    count = f"{len(rows)} setting{'s' if len(rows) > 1 else ''}"
    if len(rows) > _ROWS:
        count += f", the best {_ROWS}"
    console.print_table(
        f"{len(frame)} lanes of {frame['task'][0]}, {count}: {milestone}",
        columns,
        [
            _cells(row, names, is_time(milestone))
            + ([row["unfinished"]] if unfinished else [])
            for row in rows[:_ROWS]
        ],
    )
    for status, count in sorted(frame["status"].value_counts().iter_rows()):
        print(f"{count:5} {status}")
    if "seconds" in frame.columns:
        print(f"{frame['seconds'].sum() or 0:,.0f} seconds, summed over the lanes")
    print("wrote", ", ".join(map(str, [directory.table_file, *pictures])))
    return frame


def _cells(row: dict[str, Any], names: Sequence[str], is_time: bool) -> list[Any]:
    known = [value for value in row["values"] if value is not None]
    never = len(row["values"]) - len(known)
    spread = None
    if known:
        least, largest = short(min(known)), short(max(known))
        spread = f"{least} – {'never' if never else largest}"
    median = short(row["median"]) if row["median"] is not None else None
    if median is None and row["values"]:
        median = "never"
    final = row["final"] if row["final"] is None else f"{row['final']:.4g}"
    cells = [row[n] if matters(row, n) else None for n in names]
    cells.append(row["lanes"])
    if is_time:
        cells.append(f"{row['reached']} of {len(row['values'])}")
    return [*cells, median, spread, final]


def _is_many(value: Any) -> bool:
    return isinstance(value, (tuple, Range))


def _check(options: dict[str, Any]) -> None:
    """Lanes are told apart by all settings but the steps."""
    if not isinstance(options["steps"], tuple) or len(options["steps"]) > 1:
        raise ValueError("--steps takes one value: the same budget for every lane.")


def _add_seeds(options: dict[str, Any], seeds: int | None) -> None:
    if seeds is None:
        return
    if len(options["seed"]) > 1:
        raise ValueError("--seeds N counts from one --seed; it was given several.")
    first = options["seed"][0]
    options["seed"] = tuple(range(first, first + seeds))


def _name(configs: Sequence[Config]) -> str:
    """A name that is a function of the lanes."""
    names = "\n".join(map(run_name, configs))
    digest = hashlib.sha256(names.encode()).hexdigest()[:8]
    return f"sweep-{configs[0].task.name}-{digest}"


def _print_plan(
    configs: Sequence[Config], directory: SweepDirectory, way: str, as_json: bool
) -> None:
    """What ``--dry-run`` tells."""
    programs = len({program_key(config) for config in configs})
    steps = sum(config.training.steps for config in configs)
    names = [n for n, v in configs[0].asdict().items() if _differs(configs, n)]
    plan = {
        "sweep": str(directory.path),
        "lanes": len(configs),
        "programs": programs,
        "steps": steps,
        "way": way,
        "settings": [{n: c.asdict()[n] for n in names} for c in configs],
    }
    if as_json:
        print(json.dumps(plan))
        return
    if names:
        shown = plan["settings"][: 2 * _ROWS]
        more = f", the first {len(shown)}" if len(shown) < len(configs) else ""
        rows = [[s[n] if matters(s, n) else None for n in names] for s in shown]
        console.print_table(f"{len(configs)} lanes{more}", names, rows)
    print(
        f"{len(configs)} lane{'s' * (len(configs) > 1)}, {programs} "
        f"program{'s' * (programs > 1)}, {steps:,} steps at most; {way}"
    )
    console.console.print(f"Would be recorded in {directory.path}", soft_wrap=True)


def _differs(configs: Sequence[Config], name: str) -> bool:
    return len({config.asdict()[name] for config in configs}) > 1
