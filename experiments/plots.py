"""Pictures of runs, drawn from their records alone."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from experiments.records import RunDirectory

_TRAIN_STYLE = {"linestyle": "--", "linewidth": 1.2, "alpha": 0.8}
_VALIDATION_STYLE = {"linewidth": 1.8}
_COLORS = ("C0", "C1", "C2", "C3", "C4", "C5")


def plot_curves(run: RunDirectory) -> None:
    """Accuracy and loss against log steps, milestones marked: ``curves.png``."""
    figure = _figure({_label(run.config()): run})
    figure.savefig(run.curves_file, dpi=120)


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
        for color, (label, table) in zip(_COLORS, tables.items(), strict=False):
            steps = np.maximum(table["step"], 1)  # step 0 at the left edge
            for split, style in (
                ("train", _TRAIN_STYLE),
                ("validation", _VALIDATION_STYLE),
            ):
                values = table[f"{split}_{quantity}"]
                text = f"{label}, {split}" if len(runs) > 1 else split
                ax.plot(steps, values, color=color, label=text, **style)
            if quantity == "accuracy":
                _mark_milestones(ax, runs[label], color)
        ax.set(xscale="log", xlabel="training steps", ylabel=quantity)
        ax.grid(alpha=0.25)
    if has_accuracy:
        axes[0].set_ylim(-0.02, 1.02)
        axes[0].yaxis.set_major_formatter(PercentFormatter(1.0))
    axes[-1].set_yscale("log")
    axes[0].legend(fontsize=8, loc="best")
    if len(runs) == 1:
        figure.suptitle(next(iter(runs)))
    return figure


def _mark_milestones(ax: Any, run: RunDirectory, color: str) -> None:
    found = run.summary()["milestones"]
    for name, threshold in (("t_fit_99", 0.99), ("t_gen_95", 0.95), ("t_gen_99", 0.99)):
        step = found.get(name)
        if step is None:
            continue
        ax.plot(max(step, 1), threshold, "o", color=color, markersize=5)
        ax.annotate(
            f"{name}: {step}",
            (max(step, 1), threshold),
            textcoords="offset points",
            xytext=(-6, {"t_gen_95": -16, "t_fit_99": 4, "t_gen_99": -4}[name]),
            ha="right",
            fontsize=7,
            color=color,
        )


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
