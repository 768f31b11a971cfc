"""Pictures of runs, drawn from their records alone."""

import itertools
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from experiments.methods.named import filters_of
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

_TRAIN_STYLE: dict[str, Any] = {"linestyle": "--", "linewidth": 1.2, "alpha": 0.8}
_VALIDATION_STYLE: dict[str, Any] = {"linewidth": 1.8}
_NORM_STYLE: dict[str, Any] = {"linestyle": ":", "linewidth": 1.2, "alpha": 0.8}
_WIDTHS = {1: 7.0, 2: 10.4}  # inches, by the number of axes
_HEIGHT = 4.2
_COLORS = tuple(f"C{i}" for i in range(10))


def plot_curves(run: RunDirectory) -> None:
    """Accuracy, loss and weight norm against log steps: ``curves.png``."""
    save(figure_of({"": run}, title=_label(run.config())), run.curves_file)


def plot_comparison(runs: Mapping[str, RunDirectory], path: Path, title: str) -> None:
    """Several runs, by their labels, in one picture."""
    save(figure_of(runs, title), path)


def figure_of(runs: Mapping[str, RunDirectory], title: str) -> Figure:
    """Accuracy, loss and weight norm against log steps of runs, by their labels."""
    tables = {label: run.metrics() for label, run in runs.items()}
    facts = [run.facts() for run in runs.values()]
    has_accuracy = all("train_accuracy" in table for table in tables.values())
    quantities = ["accuracy", "loss"] if has_accuracy else ["loss"]
    width = _WIDTHS[len(quantities)]
    figure = Figure(figsize=(width, _HEIGHT), layout="constrained")
    axes = figure.subplots(1, len(quantities), squeeze=False)[0]
    for ax, quantity in zip(axes, quantities, strict=True):
        colors = itertools.cycle(_COLORS)
        curves = zip(tables.items(), facts, colors, strict=False)
        for (label, table), of_task, color in curves:
            steps = np.maximum(table["step"], 1)  # step 0 at the left edge
            for split, style in (
                ("train", _TRAIN_STYLE),
                ("validation", _VALIDATION_STYLE),
            ):
                values = table[f"{split}_{quantity}"]
                text = f"{label}, {split}" if len(runs) > 1 else split
                ax.plot(steps, values, color=color, label=text, **style)
            if quantity == "accuracy":
                _mark_milestones(ax, table, of_task, color)
            else:
                _mark_lowest_loss(ax, table, color)
        ax.set(xscale="log", xlabel="training steps", ylabel=quantity)
        ax.grid(alpha=0.25)
    if has_accuracy:
        axes[0].set_ylim(-0.02, 1.02)
        axes[0].yaxis.set_major_formatter(PercentFormatter(1.0))
    axes[-1].set_yscale("log")
    if all("weight_norm" in table for table in tables.values()):
        _weight_norms(axes[-1].twinx(), tables)
    figure.suptitle(textwrap.fill(title, int(10 * width)))
    _legend_below(figure, *axes[0].get_legend_handles_labels())
    return figure


def _legend_below(figure: Figure, handles: list[Any], labels: list[str]) -> None:
    """A legend in as many columns as fit; the figure grows, the axes do not shrink."""
    labels = [textwrap.fill(label, 90) for label in labels]
    longest = max(len(line) for label in labels for line in label.splitlines())
    columns = max(1, int(figure.get_figwidth() / (0.6 + 0.07 * longest)))  # inches
    legend = figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, fontsize=8
    )
    height = legend.get_window_extent().height / figure.dpi
    figure.set_figheight(_HEIGHT + height)


def _weight_norms(ax: Axes, tables: Mapping[str, dict[str, np.ndarray]]) -> None:
    """The norms of the runs on an axis of their own, dotted."""
    for color, table in zip(itertools.cycle(_COLORS), tables.values(), strict=False):
        steps = np.maximum(table["step"], 1)
        measured = np.isfinite(table["weight_norm"])  # not at every evaluation
        norms = table["weight_norm"][measured]
        ax.plot(steps[measured], norms, color=color, **_NORM_STYLE)
    # From 0, and with room above: a norm that hardly falls is not on the frame.
    ax.set(ylabel="weight norm (dotted)", ylim=(0, 1.1 * ax.get_ylim()[1]))


def _mark_milestones(ax: Axes, table: Metrics, facts: TaskFacts, color: str) -> None:
    found = milestones(table, facts.milestones)
    for milestone in facts.milestones:
        step = found[milestone.name]
        if step is not None and found.get(milestone.instead_of) is None:
            _mark(
                ax,
                step,
                threshold_of(milestone, table),
                milestone.marker,
                f"{milestone.short}: step {step}",
                color,
            )


def _mark_lowest_loss(ax: Axes, table: Metrics, color: str) -> None:
    found = milestones(table, ())
    if (loss := found.get(LOWEST_LOSS)) is not None:
        step = found[LOWEST_LOSS_STEP]
        label = f"lowest validation: {loss:.3g} at step {step}"
        _mark(ax, step, loss, "v", label, color)


def _mark(
    ax: Axes, step: int, value: float, marker: str, label: str, color: str
) -> None:
    ax.plot(
        max(step, 1),
        value,
        label=label,
        color=color,
        marker=marker,
        linestyle="",
        markersize=6,
    )


def _label(config: Mapping[str, Any]) -> str:
    what = " ".join(config[name] for name in ("task", "operation") if name in config)
    filters = " + ".join(f"Grokfast-{f.label()}" for f in filters_of(config))
    return (
        f"{what}: {filters or 'no filter'}, {config['optimizer']}, "
        f"weight decay {config['weight_decay']:g}, seed {config['seed']}"
    )
