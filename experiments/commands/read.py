"""Verbs that read records and train nothing: list, show, plot, compare."""

from collections import Counter
from pathlib import Path
from typing import Any

import click

from experiments.commands import listed
from experiments.commands.results import show_sweep
from experiments.commands.shared import json_option, picture_option
from experiments.files import json_text, where_allowed
from experiments.methods.named import did_you_mean, in_effect
from experiments.pictures.curves import plot_comparison, plot_curves
from experiments.records.run import RecordError, RunDirectory
from experiments.records.sweep import SweepDirectory
from experiments.results import listing
from experiments.results.conditions import Condition
from experiments.results.table import label as in_words
from experiments.results.table import telling
from experiments.screen import console

_RUN = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command("list")
@click.argument("root", type=_RUN, default=Path("runs"))
@click.option("--lanes", is_flag=True, help="A line for every lane of a sweep.")
@click.option(
    "--filter",
    "wanted",
    metavar="CONDITION",
    multiple=True,
    help="Only runs and lanes with KEY=VALUE[,VALUE…], KEY!=VALUE, KEY<NUMBER, … of a "
    "column, setting or result. Given several times, all must hold.",
)
@click.option(
    "--sort", metavar="COLUMN", help="Order by this column, setting or result."
)
@click.option("--reverse", is_flag=True, help="The other way round.")
@json_option
def list_runs(
    root: Path,
    lanes: bool,
    wanted: tuple[str, ...],
    sort: str | None,
    reverse: bool,
    as_json: bool,
) -> None:
    """List the runs below ROOT (default: runs) with settings, state and milestones.

    A sweep is one line: how many lanes, how many of them are over, and how many reached
    what they are compared by; its steps are the most of any lane, its milestones
    medians. Named itself, or with --lanes, it is told lane by lane.

        python -m experiments list --filter 'lamb>=2' --sort gen_99
    """
    runs = listing.describe_all(root)
    found, extra = _ordered(runs, root, lanes, wanted, sort, reverse)
    if as_json:
        print(json_text(found))
        return
    if found:
        listed.print_lines(found, extra, root, wanted)
    else:
        listed.say_what_there_is(runs, root, wanted)


def _ordered(
    runs: list[listing.Described],
    root: Path,
    lanes: bool,
    wanted: tuple[str, ...],
    sort: str | None,
    reverse: bool,
) -> tuple[list[listing.Described], list[str]]:
    """The lines that are asked for, in order, and the columns that were named."""
    try:
        conditions = [Condition.parse(text) for text in wanted]
        found = listing.chosen(runs, conditions)
        found = found if lanes else listing.together(root, found)
        extra = [listing.resolved(c.name, runs, "--filter") for c in conditions]
        if sort is None:
            return (found[::-1] if reverse else found), extra
        name = listing.resolved(sort, runs, "--sort")
        return listing.in_order(found, name, reverse=reverse), [name, *extra]
    except ValueError as error:
        raise click.UsageError(str(error)) from None


@click.command()
@click.argument("run", type=_RUN)
@json_option
def show(run: Path, as_json: bool) -> None:
    """Show the settings and the summary of one RUN, or the results of a sweep.

    Its curves are drawn if they are not there, of a lane of a sweep for example, or
    older than the metrics. Of a sweep the table and the pictures are written anew too,
    whatever its state.
    """
    if (directory := SweepDirectory(run)).plan_file.exists():
        show_sweep(directory, as_json)
        return
    record = _open(run)
    if as_json:
        print(json_text(listing.describe(record)))
        return
    config = in_effect(record.config())
    console.print_table("Settings", ("", "value"), list(config.items()))
    if record.summary_file.exists():
        # Those that were recorded may be of an earlier definition.
        summary = record.summary() | {
            "milestones": listing.describe(record)["milestones"]
        }
        console.print_summary(summary, record.facts().milestones, run)
    else:
        described = listing.describe(record)
        print(f"{described['state']}, at step {described['steps']}")
    if not record.has_curves():
        with where_allowed():
            plot_curves(record)
            console.say(f"wrote {console.place(record.curves_file)}")


@click.command()
@click.argument("runs", type=_RUN, nargs=-1, required=True)
@click.option("--by", help="Label the curves by this setting. [default: what differs]")
@picture_option("curves.png")
def plot(runs: tuple[Path, ...], by: str | None, output: Path) -> None:
    """Draw the curves of several RUNS in one picture, from their records alone."""
    records = [_open(path) for path in runs]
    configs = [in_effect(record.config()) for record in records]
    differing = telling(configs, _differing(configs))
    if by is not None:
        known = set(configs[0]).intersection(*configs)
        if by not in known:
            raise click.UsageError(
                f"--by: no setting {by!r} in these runs.{did_you_mean(by, known)}"
            )
        differing = [by]
    names = Counter(record.path.name for record in records)
    labelled: dict[str, RunDirectory] = {}
    for record, config in zip(records, configs, strict=True):
        label, name = in_words(config, differing), record.path.name
        if not label or label in labelled:
            name = name if names[name] == 1 else str(record.path)
            label = f"{label} ({name})" if label else name
        labelled[label] = record
    plot_comparison(labelled, output, f"{configs[0]['task']}, {len(labelled)} runs")
    print(f"wrote {console.place(output)}")


@click.command()
@click.argument("first", type=_RUN)
@click.argument("second", type=_RUN)
@json_option
def compare(first: Path, second: Path, as_json: bool) -> None:
    """Compare two runs: the settings that differ, and milestones side by side."""
    records = [_open(path) for path in (first, second)]
    runs = [listing.describe(record) for record in records]
    configs = [run["config"] for run in runs]
    settings = {n: [c.get(n) for c in configs] for n in _differing(configs)}
    results: dict[str, list[Any]] = {
        "state": [run["state"] for run in runs],
        "steps": [run["steps"] for run in runs],
    }
    words = {
        name: text
        for record in records
        for name, text in console.words_of(record.facts().milestones).items()
    }
    found = {n: 0 for run in runs for n in run["milestones"] if n in words}
    results |= {n: [run["milestones"].get(n) for run in runs] for n in found}
    names = {name for run in runs for name in run["final"]} - {"step"}
    results |= {n: [run["final"].get(n) for run in runs] for n in sorted(names)}
    if as_json:
        print(json_text({"settings": settings, "results": results}))
        return
    header = ("", console.place(first.name), console.place(second.name))
    for title, rows in (("Settings that differ", settings), ("Results", results)):
        if rows is results:
            rows = {words.get(n, n.replace("_", " ")): v for n, v in rows.items()}
        cells = [[name, *values] for name, values in rows.items()]
        console.print_table(title, header, cells)


def _open(path: Path) -> RunDirectory:
    if SweepDirectory(path).plan_file.exists():
        raise RecordError(
            f"{path} is a sweep: `show` draws it; name runs, below {path / 'lanes'}."
        )
    record = RunDirectory(path)
    if not record.config_file.exists() or not record.metrics_file.exists():
        raise RecordError(f"{path} holds no run: no config.json or no metrics.csv.")
    return record


def _differing(configs: list[dict[str, Any]]) -> list[str]:
    names = {name: None for config in configs for name in config}
    return [n for n in names if len({str(config.get(n)) for config in configs}) > 1]
