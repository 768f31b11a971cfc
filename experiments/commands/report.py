"""The verb that makes one page of runs and sweeps, also while they are under way."""

import datetime
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from experiments.files import expanded, write_whole
from experiments.pictures.report.contents import contents
from experiments.pictures.report.page import page, plotly_js
from experiments.pictures.report.runs import runs_of
from experiments.records.run import RecordError, RunDirectory
from experiments.records.status import UNFINISHED
from experiments.screen import console

_Seen = dict[Path, tuple[int, int]]


def _page_at(ctx: click.Context, param: click.Parameter, path: Path) -> Path:
    del ctx, param
    if path.suffix not in (".html", ".htm"):
        raise click.UsageError(f"--output must end in .html, got {path}.")
    if not expanded(path).parent.is_dir():
        raise click.UsageError(f"--output: no directory {path.parent} to write it in.")
    return expanded(path)


@click.command()
@click.argument(
    "paths",
    metavar="RUN_OR_SWEEP…",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    nargs=-1,
    required=True,
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("report.html"),
    show_default=True,
    callback=_page_at,
    help="The page.",
)
@click.option("--title", help="Of the page. [default: tasks and number of runs]")
@click.option(
    "--watch",
    is_flag=True,
    help="Write the page again whenever the records have grown, until all runs are "
    "over or Ctrl-C ends it.",
)
@click.option(
    "--every",
    "seconds",
    type=click.FloatRange(min=1),
    metavar="SECONDS",
    help="With --watch: between two looks at the records, at least 1. [default: 10]",
)
def report(
    paths: tuple[Path, ...],
    output: Path,
    title: str | None,
    watch: bool,
    seconds: float | None,
) -> None:
    """Make one page of runs and sweeps to look at in a browser.

    It has curves, milestones, survival, a heat map, a table to sort and to filter, and
    where the figures come from. The file needs nothing but itself and no network. A
    directory that holds several runs or sweeps stands for all of them.

        python -m experiments report runs/sweep --output sweep.html

    While a sweep runs, open the page once: with --watch it is written again as the
    records grow, and reloads itself in the browser.

        python -m experiments report runs/sweep --watch
    """
    if seconds is not None and not watch:
        raise click.UsageError("--every needs --watch: without it nothing is repeated.")
    plotly = plotly_js()
    if watch:
        _watch(paths, output, title, plotly, seconds or 10.0)
        return
    runs = runs_of(paths)
    _write(runs, output, title, plotly, None)
    console.say(f"wrote {output}: {_count(runs)}")


def _watch(
    paths: Sequence[Path], output: Path, title: str | None, plotly: str, seconds: float
) -> None:
    """Write the page as the records grow; Ctrl-C is the way to end it, and no error."""
    seen: _Seen | None = None
    runs: dict[str, RunDirectory] = {}
    is_there = False
    console.say("watching; Ctrl-C ends it.")
    try:
        while True:
            try:
                runs = runs_of(paths)
            except RecordError as error:  # a sweep that has just begun
                if seen is None:
                    console.say(f"{error} Waiting.")
                runs, seen = {}, {}
            if runs and (now := _seen(runs)) != seen:
                seen = now
                if not any(run.status() in UNFINISHED for run in runs.values()):
                    break
                _write(runs, output, title, plotly, seconds)
                if not is_there:
                    console.say(
                        f"wrote {output}: {_count(runs)}; open it in a browser."
                    )
                is_there = True
            time.sleep(seconds)
    except KeyboardInterrupt:
        if not runs:
            console.say("ended; there was nothing to write.")
            return
    _write(runs, output, title, plotly, None)  # that page does not reload itself
    console.say(f"wrote {output}, for the last time: {_count(runs)}")


def _write(
    runs: Mapping[str, RunDirectory],
    output: Path,
    title: str | None,
    plotly: str,
    watching: float | None,
) -> None:
    found = contents(runs)
    found |= {
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "watching": watching,
    }
    tasks = " and ".join(dict.fromkeys(run.config()["task"] for run in runs.values()))
    text = page(found, title or f"{tasks}: {_count(runs)}", plotly)
    write_whole(output, text.encode())


def _seen(runs: Mapping[str, RunDirectory]) -> _Seen:
    """Times and sizes of the records' files: whether they have grown."""
    files = [
        file
        for run in runs.values()
        for file in (run.config_file, run.metrics_file, run.summary_file)
    ]
    seen = {}
    for file in files:
        try:
            found = os.stat(file)
        except FileNotFoundError:
            continue
        seen[file] = (found.st_mtime_ns, found.st_size)
    return seen


def _count(runs: Mapping[str, RunDirectory]) -> str:
    return f"{len(runs)} run{'s' * (len(runs) != 1)}"
