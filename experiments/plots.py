"""Pictures of runs, drawn from their records alone."""

import io
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from experiments.milestones import milestones
from experiments.records import RunDirectory

_TRAIN_STYLE = {"linestyle": "--", "linewidth": 1.2, "alpha": 0.8}
_VALIDATION_STYLE = {"linewidth": 1.8}
_MILESTONES = {
    "t_fit_99": (0.99, "s", "train 99 %"),
    "t_gen_95": (0.95, "^", "validation 95 %"),
    "t_gen_99": (0.99, "o", "validation 99 %"),
}
_COLORS = tuple(f"C{i}" for i in range(10))


def plot_curves(run: RunDirectory) -> None:
    """Accuracy and loss against log steps, milestones marked: ``curves.png``."""
    picture = io.BytesIO()
    _figure({_label(run.config()): run}).savefig(picture, dpi=120, format="png")
    run.write_curves(picture.getvalue())


def plot_comparison(runs: Mapping[str, RunDirectory], path: Any, title: str) -> None:
    """Several runs, by their labels, in one picture."""
    figure = _figure(runs)
    figure.suptitle(title)
    figure.savefig(path, dpi=120)


def _figure(runs: Mapping[str, RunDirectory]) -> Figure:
    tables = {label: run.metrics() for label, run in runs.items()}
    has_accuracy = all("train_accuracy" in table for table in tables.values())
    quantities = ["accuracy", "loss"] if has_accuracy else ["loss"]
    figure = Figure(figsize=(5.2 * len(quantities), 4.2), layout="constrained")
    axes = figure.subplots(1, len(quantities), squeeze=False)[0]
    for ax, quantity in zip(axes, quantities, strict=True):
        colors = itertools.cycle(_COLORS)
        for color, (label, table) in zip(colors, tables.items(), strict=False):
            steps = np.maximum(table["step"], 1)  # step 0 at the left edge
            for split, style in (
                ("train", _TRAIN_STYLE),
                ("validation", _VALIDATION_STYLE),
            ):
                values = table[f"{split}_{quantity}"]
                text = f"{label}, {split}" if len(runs) > 1 else split
                ax.plot(steps, values, color=color, label=text, **style)
            if quantity == "accuracy":
                _mark_milestones(ax, table, color)
        ax.set(xscale="log", xlabel="training steps", ylabel=quantity)
        ax.grid(alpha=0.25)
    if has_accuracy:
        axes[0].set_ylim(-0.02, 1.02)
        axes[0].yaxis.set_major_formatter(PercentFormatter(1.0))
    axes[-1].set_yscale("log")
    axes[0].legend(fontsize=8, loc="upper left")
    if len(runs) == 1:
        figure.suptitle(next(iter(runs)))
    return figure


def _mark_milestones(ax: Any, table: dict[str, np.ndarray], color: str) -> None:
    found = milestones(table)
    for name, (threshold, marker, text) in _MILESTONES.items():
        if (step := found.get(name)) is not None:
            style = {"color": color, "marker": marker, "linestyle": "", "markersize": 6}
            ax.plot(max(step, 1), threshold, label=f"{text}: step {step}", **style)


def _label(config: dict[str, Any]) -> str:
    filters = {
        "none": "no filter",
        "ema": f"Grokfast-EMA α = {config['alpha']:g}, λ = {config['lamb']:g}",
        "ma": f"Grokfast-MA w = {config['window_size']}, λ = {config['lamb']:g}",
    }
    what = config.get("operation", "")
    return (
        f"{config['task']} {what}: {filters[config['filter']]}, "
        f"{config['optimizer']}, weight decay {config['weight_decay']:g}, "
        f"seed {config['seed']}"
    )
