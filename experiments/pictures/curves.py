"""Pictures of runs, drawn from their records alone."""

import io
import itertools
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from experiments.records.run import RunDirectory
from experiments.results.milestones import milestones, thresholds
from experiments.tasks import published_accuracy

_TRAIN_STYLE = {"linestyle": "--", "linewidth": 1.2, "alpha": 0.8}
_VALIDATION_STYLE = {"linewidth": 1.8}
_NORM_STYLE = {"linestyle": ":", "linewidth": 1.2, "alpha": 0.8}
_MILESTONES = {
    "t_fit_99": ("s", "train 99 %"),
    "t_gen_95": ("^", "validation 95 %"),
    "t_gen_99": ("o", "validation 99 %"),
    "t_gen_95_of_best": ("v", "95 % of its best"),
    "t_gen_95_of_published": ("D", "95 % of published"),
}
_WIDTHS = {1: 7.0, 2: 10.4}  # inches, by the number of axes
_HEIGHT = 4.2
_COLORS = tuple(f"C{i}" for i in range(10))


def plot_curves(run: RunDirectory) -> None:
    """Accuracy, loss and weight norm against log steps: ``curves.png``."""
    picture = io.BytesIO()
    figure = _figure({"": run}, title=_label(run.config()))
    figure.savefig(picture, dpi=120, format="png")
    run.write_curves(picture.getvalue())


def plot_comparison(runs: Mapping[str, RunDirectory], path: Any, title: str) -> None:
    """Several runs, by their labels, in one picture."""
    _figure(runs, title).savefig(path, dpi=120)


def _figure(runs: Mapping[str, RunDirectory], title: str) -> Figure:
    tables = {label: run.metrics() for label, run in runs.items()}
    published = [published_accuracy(run.config()) for run in runs.values()]
    has_accuracy = all("train_accuracy" in table for table in tables.values())
    quantities = ["accuracy", "loss"] if has_accuracy else ["loss"]
    width = _WIDTHS[len(quantities)]
    figure = Figure(figsize=(width, _HEIGHT), layout="constrained")
    axes = figure.subplots(1, len(quantities), squeeze=False)[0]
    for ax, quantity in zip(axes, quantities, strict=True):
        colors = itertools.cycle(_COLORS)
        curves = zip(tables.items(), published, colors, strict=False)
        for (label, table), reference, color in curves:
            steps = np.maximum(table["step"], 1)  # step 0 at the left edge
            for split, style in (
                ("train", _TRAIN_STYLE),
                ("validation", _VALIDATION_STYLE),
            ):
                values = table[f"{split}_{quantity}"]
                text = f"{label}, {split}" if len(runs) > 1 else split
                ax.plot(steps, values, color=color, label=text, **style)
            if quantity == "accuracy":
                _mark_milestones(ax, table, reference, color)
            else:
                _mark_lowest_loss(ax, table, color)
        ax.set(xscale="log", xlabel="training steps", ylabel=quantity)
        ax.grid(alpha=0.25)
    if has_accuracy:
        axes[0].set_ylim(-0.02, 1.02)
        axes[0].yaxis.set_major_formatter(PercentFormatter(1.0))
    axes[-1].set_yscale("log")
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


def _weight_norms(ax: Any, tables: Mapping[str, dict[str, np.ndarray]]) -> None:
    """The norms of the runs on an axis of their own, dotted."""
    for color, table in zip(itertools.cycle(_COLORS), tables.values(), strict=False):
        steps = np.maximum(table["step"], 1)
        ax.plot(steps, table["weight_norm"], color=color, **_NORM_STYLE)
    # From 0, and with room above: a norm that hardly falls is not on the frame.
    ax.set(ylabel="weight norm (dotted)", ylim=(0, 1.1 * ax.get_ylim()[1]))


def _mark_milestones(
    ax: Any, table: dict[str, np.ndarray], published: float | None, color: str
) -> None:
    """The absolute ones; the relative ones where 95 % was not reached."""
    found, levels = milestones(table, published), thresholds(table, published)
    for name, (marker, text) in _MILESTONES.items():
        is_wanted = "_of_" not in name or found["t_gen_95"] is None
        if is_wanted and (step := found.get(name)) is not None:
            style = {"color": color, "marker": marker, "linestyle": "", "markersize": 6}
            label = f"{text}: step {step}"
            ax.plot(max(step, 1), levels[name][1], label=label, **style)


def _mark_lowest_loss(ax: Any, table: dict[str, np.ndarray], color: str) -> None:
    found = milestones(table)
    if (loss := found.get("min_validation_loss")) is not None:
        step = found["t_min_validation_loss"]
        style = {"color": color, "marker": "v", "linestyle": "", "markersize": 6}
        label = f"lowest validation: {loss:.3g} at step {step}"
        ax.plot(max(step, 1), loss, label=label, **style)


def _label(config: dict[str, Any]) -> str:
    filters = {
        "none": "no filter",
        "ema": f"Grokfast-EMA α = {config['alpha']:g}, λ = {config['lamb']:g}",
        "ma": f"Grokfast-MA w = {config['window_size']}, λ = {config['lamb']:g}",
    }
    what = " ".join(config[name] for name in ("task", "operation") if name in config)
    return (
        f"{what}: {filters[config['filter']]}, "
        f"{config['optimizer']}, weight decay {config['weight_decay']:g}, "
        f"seed {config['seed']}"
    )
