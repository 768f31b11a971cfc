"""Verbs that read records and train nothing: list, show, plot, compare."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from experiments.commands.results import show_sweep
from experiments.commands.shared import json_option, picture_option
from experiments.files import json_text
from experiments.methods.named import did_you_mean, filters_of, in_effect
from experiments.pictures.curves import plot_comparison, plot_curves
from experiments.records.run import RecordError, RunDirectory, find_runs
from experiments.records.sweep import SweepDirectory
from experiments.results.milestones import milestones
from experiments.results.numbers import short
from experiments.screen import console

_RUN = click.Path(exists=True, file_okay=False, path_type=Path)
_LISTED = {"t_fit_99": "fit 99", "t_gen_99": "gen 99"}


@click.command("list")
@click.argument("root", type=_RUN, default=Path("runs"))
@json_option
def list_runs(root: Path, as_json: bool) -> None:
    """List the runs below ROOT (default: runs) with settings, state and milestones."""
    runs = [_describe(run) for run in find_runs(root)]
    if as_json:
        print(json_text(runs))
        return
    columns = (
        "run",
        "task",
        "filter",
        "decay",
        "seed",
        "state",
        "steps",
        *_LISTED.values(),
    )
    console.print_table(
        f"{len(runs)} runs below {root}",
        columns,
        [
            [
                Path(run["run"]).relative_to(root),
                run["config"].get("operation", run["config"]["task"]),
                _filters(run["config"]),
                run["config"]["weight_decay"],
                run["config"]["seed"],
                run["state"],
                run["steps"],
                *(run["milestones"].get(name) for name in _LISTED),
            ]
            for run in runs
        ],
    )


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
        print(json_text(_describe(record)))
        return
    config = in_effect(record.config())
    console.print_table("Settings", ("", "value"), list(config.items()))
    if record.summary_file.exists():
        console.print_summary(record.summary(), record.facts().milestones, run)
    else:
        described = _describe(record)
        print(f"{described['state']}, at step {described['steps']}")
    if not record.has_curves():
        with contextlib.suppress(PermissionError):  # an archive
            plot_curves(record)
            console.say(f"wrote {record.curves_file}")


@click.command()
@click.argument("runs", type=_RUN, nargs=-1, required=True)
@click.option("--by", help="Label the curves by this setting. [default: what differs]")
@picture_option("curves.png")
def plot(runs: tuple[Path, ...], by: str | None, output: Path) -> None:
    """Draw the curves of several RUNS in one picture, from their records alone."""
    records = [_open(path) for path in runs]
    configs = [in_effect(record.config()) for record in records]
    differing = _differing(configs)
    if by is not None:
        known = set(configs[0]).intersection(*configs)
        if by not in known:
            raise click.UsageError(
                f"--by: no setting {by!r} in these runs.{did_you_mean(by, known)}"
            )
        differing = [by]
    labelled: dict[str, RunDirectory] = {}
    for record, config in zip(records, configs, strict=True):
        label = ", ".join(f"{name} {config.get(name)}" for name in differing)
        if not label or label in labelled:
            label = f"{label} ({record.path.name})".strip()
        labelled[label] = record
    plot_comparison(labelled, output, f"{configs[0]['task']}, {len(records)} runs")
    print(f"wrote {output}")


@click.command()
@click.argument("first", type=_RUN)
@click.argument("second", type=_RUN)
@json_option
def compare(first: Path, second: Path, as_json: bool) -> None:
    """Compare two runs: the settings that differ, and milestones side by side."""
    records = [_open(path) for path in (first, second)]
    runs = [_describe(record) for record in records]
    configs = [run["config"] for run in runs]
    settings = {n: [c.get(n) for c in configs] for n in _differing(configs)}
    results: dict[str, list[Any]] = {
        "state": [run["state"] for run in runs],
        "steps": [run["steps"] for run in runs],
    }
    words = {n for r in records for n in console.words_of(r.facts().milestones)}
    found = {n: 0 for run in runs for n in run["milestones"] if n in words}
    results |= {n: [run["milestones"].get(n) for run in runs] for n in found}
    names = {name for run in runs for name in run["final"]} - {"step"}
    results |= {n: [run["final"].get(n) for run in runs] for n in sorted(names)}
    if as_json:
        print(json_text({"settings": settings, "results": results}))
        return
    header = ("", first.name, second.name)
    for title, rows in (("Settings that differ", settings), ("Results", results)):
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


def _describe(run: RunDirectory) -> dict[str, Any]:
    """Settings, state and results of a run, whatever its state."""
    metrics = run.metrics()
    return {
        "run": str(run.path),
        "config": in_effect(run.config()),
        "state": run.status(),
        "steps": int(metrics["step"][-1]) if metrics else 0,
        "milestones": milestones(metrics, run.facts().milestones),
        "final": {name: float(values[-1]) for name, values in metrics.items()},
    }


def _differing(configs: list[dict[str, Any]]) -> list[str]:
    names = {name: None for config in configs for name in config}
    return [n for n in names if len({str(config.get(n)) for config in configs}) > 1]


def _filters(config: Mapping[str, Any]) -> str:
    """Names and, of each, the two numbers that matter most: ``ema 0.98/2``."""
    texts = []
    for each in filters_of(config):
        first, second, *_ = each.in_effect().values()
        texts.append(f"{each.name} {short(first)}/{short(second)}")
    return "+".join(texts) or "none"
