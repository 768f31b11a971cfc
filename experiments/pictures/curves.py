"""Pictures of runs, drawn from their records alone."""

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from experiments.methods.named import filters_of
from experiments.pictures.axes import legend_below, scale
from experiments.pictures.looks import in_legend, looks
from experiments.pictures.save import save
from experiments.records.run import RunDirectory
from experiments.results.milestones import (
    LOWEST_LOSS,
    LOWEST_LOSS_STEP,
    Metrics,
    milestones,
    threshold_of,
)
from experiments.settings.milestone import TaskFacts

_STYLES: dict[str, dict[str, Any]] = {
    "train": {"linestyle": "--", "linewidth": 1.2, "alpha": 0.8},
    "validation": {"linestyle": "-", "linewidth": 1.8},
    "weight norm": {"linestyle": ":", "linewidth": 1.2, "alpha": 0.8},
}
LOWEST_MARKER = "*"  # that of no milestone
_WIDTHS = {1: 7.0, 2: 10.4}  # inches, by the number of axes
_HEIGHT = 4.2


class _Mark(NamedTuple):
    """A point on a curve: where, how it is drawn, and what it means."""

    step: int
    value: float
    marker: str
    words: str


def plot_curves(run: RunDirectory) -> None:
    """Accuracy, loss and weight norm against log steps: ``curves.png``."""
    save(figure_of({"": run}, title=_label(run.config())), run.curves_file)


def plot_comparison(runs: Mapping[str, RunDirectory], path: Path, title: str) -> None:
    """Several runs, by their labels, in one picture."""
    save(figure_of(runs, title), path)


def figure_of(runs: Mapping[str, RunDirectory], title: str) -> Figure:
    """Accuracy, loss and weight norm against log steps of runs, by their labels.

    A colour is a run; a line or a marker means the same in all of them.
    """
    tables = {label: run.metrics() for label, run in runs.items()}
    facts = {label: run.facts() for label, run in runs.items()}
    has_accuracy = all("train_accuracy" in table for table in tables.values())
    quantities = ["accuracy", "loss"] if has_accuracy else ["loss"]
    width = _WIDTHS[len(quantities)]
    figure = Figure(figsize=(width, _HEIGHT), layout="constrained")
    axes = figure.subplots(1, len(quantities), squeeze=False)[0]
    colors = {label: look["color"] for label, look in looks(runs).items()}
    curves: dict[str, dict[str, list[Line2D]]] = {label: {} for label in runs}
    keys: dict[str, Line2D] = {}
    for ax, quantity in zip(axes, quantities, strict=True):
        for label, table in tables.items():
            for split in ("train", "validation"):
                values = table[f"{split}_{quantity}"]
                line = _curve(ax, table["step"], values, split, colors[label])
                curves[label].setdefault(quantity, []).append(line)
                keys[split] = line
            for mark in _marks(quantity, table, facts[label]):
                point = _point(ax, mark, colors[label])
                keys[_words(mark, len(runs))] = point
        ax.set(xlabel="training steps", ylabel=quantity)
        ax.grid(alpha=0.25)
        scale(ax, "x", [np.asarray(line.get_xdata()) for line in ax.lines])
    if has_accuracy:
        axes[0].set_ylim(-0.02, 1.02)
        axes[0].yaxis.set_major_formatter(PercentFormatter(1.0))
    scale(axes[-1], "y", [np.asarray(line.get_ydata()) for line in axes[-1].lines])
    if all("weight_norm" in table for table in tables.values()):
        norms = _weight_norms(axes[-1].twinx(), tables, colors)
        keys["weight norm"] = norms[next(iter(norms))]
        for label, line in norms.items():
            curves[label]["weight norm"] = [line]
    figure.suptitle(textwrap.fill(title, int(10 * width)), parse_math=False)
    keys = {n: keys[n] for n in (*_STYLES, *keys) if n in keys}  # lines, then markers
    handles, texts = list(keys.values()), list(keys)
    if len(runs) > 1:  # then what lines and markers mean has no colour
        handles = [
            *(of_run["loss"][1] for of_run in curves.values()),
            *map(_in_grey, handles),
        ]
        texts = [*in_legend(curves), *texts]
    legend_below(figure, handles, texts, _HEIGHT)
    return figure


def _curve(
    ax: Axes, steps: np.ndarray, values: np.ndarray, what: str, color: Any
) -> Line2D:
    shown = np.maximum(steps, 1)  # step 0 at the left edge
    return ax.plot(shown, values, color=color, **_STYLES[what])[0]


def _point(ax: Axes, mark: _Mark, color: Any) -> Line2D:
    return ax.plot(
        max(mark.step, 1),
        mark.value,
        color=color,
        marker=mark.marker,
        linestyle="",
        markersize=7,
        zorder=3,
    )[0]


def _words(mark: _Mark, runs: int) -> str:
    """What the legend says of a marker: of one run alone where it stands, too."""
    return f"{mark.words}: step {mark.step:,}" if runs == 1 else mark.words


def _in_grey(line: Line2D) -> Line2D:
    grey = Line2D([], [])
    grey.update_from(line)
    grey.set_color("0.4")
    return grey


def _weight_norms(
    ax: Axes, tables: Mapping[str, Metrics], colors: Mapping[str, Any]
) -> dict[str, Line2D]:
    """The norms of the runs on an axis of their own, dotted."""
    lines = {}
    for label, table in tables.items():
        measured = np.isfinite(table["weight_norm"])  # not at every evaluation
        steps, norms = table["step"][measured], table["weight_norm"][measured]
        lines[label] = _curve(ax, steps, norms, "weight norm", colors[label])
    # From 0, and with room above: a norm that hardly falls is not on the frame.
    ax.set(ylabel="weight norm (dotted)", ylim=(0, 1.1 * ax.get_ylim()[1]))
    return lines


def _marks(quantity: str, table: Metrics, facts: TaskFacts) -> Iterator[_Mark]:
    """The milestones that were reached, on an accuracy; the lowest of a loss."""
    if quantity == "loss":
        found = milestones(table, ())
        if (loss := found.get(LOWEST_LOSS)) is not None:
            step = found[LOWEST_LOSS_STEP]
            yield _Mark(step, loss, LOWEST_MARKER, "lowest validation loss")
        return
    found = milestones(table, facts.milestones)
    for milestone in facts.milestones:
        step = found[milestone.name]
        if step is not None and found.get(milestone.instead_of) is None:
            value = threshold_of(milestone, table)
            yield _Mark(step, value, milestone.marker, milestone.short)


def _label(config: Mapping[str, Any]) -> str:
    what = " ".join(config[name] for name in ("task", "operation") if name in config)
    filters = " + ".join(f"Grokfast-{f.label()}" for f in filters_of(config))
    return (
        f"{what}: {filters or 'no filter'}, {config['optimizer']}, "
        f"weight decay {config['weight_decay']:g}, seed {config['seed']}"
    )
