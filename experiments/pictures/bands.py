"""Pictures of many seeds: a median curve and a band for each group of runs."""

import functools
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from experiments.records.run import RunDirectory

QUARTILES_FROM = 5
"""Fewer runs than these have no quartiles worth the name: their band is the range."""
STYLES = ("-", "--", "-.", ":")


def band(
    runs: Sequence[RunDirectory], column: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Steps, median, and both edges of the band.

    The edges are the quartiles, or of few runs the least and the largest. A run that
    ended before another, at its target, stays at its last value.
    """
    tables = [run.metrics() for run in runs]
    steps = functools.reduce(np.union1d, (table["step"] for table in tables))
    values = []
    for table in tables:
        last = np.searchsorted(table["step"], steps, side="right") - 1
        values.append(table[column][last])
    edges = (0.25, 0.75) if len(runs) >= QUARTILES_FROM else (0, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # where all have diverged
        low, median, high = np.nanquantile(values, (edges[0], 0.5, edges[1]), axis=0)
    return steps, median, low, high


def plot_bands(
    groups: Mapping[str, Sequence[RunDirectory]],
    columns: Sequence[str],
    title: str,
) -> Figure:
    """Columns of the metrics against log steps, from the first after 0, side by side.

    Args:
      groups: runs that differ in their seed alone, by the group's label.
      columns: an accuracy is drawn in per cent, a loss on a logarithmic axis.
      title: above all.
    """
    figure = Figure(figsize=(5.2 * len(columns), 4.2), layout="constrained")
    axes = figure.subplots(1, len(columns), squeeze=False)[0]
    for ax, column in zip(axes, columns, strict=True):
        is_drawn = False  # where all have diverged there is nothing to draw
        for index, (label, runs) in enumerate(groups.items()):
            steps, median, low, high = band(runs, column)
            # Step 0 has no place there, and a line from it would look measured.
            shown = (steps > 0) & np.isfinite(median)
            steps, median, low, high = (a[shown] for a in (steps, median, low, high))
            is_drawn = is_drawn or len(steps) > 0
            color, style = f"C{index % 10}", STYLES[index % len(STYLES)]
            ax.plot(steps, median, style, color=color, linewidth=1.6, label=label)
            ax.fill_between(steps, low, high, color=color, alpha=0.2, linewidth=0)
        ax.set(xlabel="training steps", ylabel=column.replace("_", " "))
        ax.grid(alpha=0.25)
        if column.endswith("accuracy"):
            ax.set_ylim(0, 1)
            ax.yaxis.set_major_formatter(PercentFormatter(1.0))
        elif column.endswith("loss"):
            ax.set_yscale("log" if is_drawn else "linear")
        else:
            ax.set_ylim(0, None)
        ax.set_xscale("log" if is_drawn else "linear")
    axes[0].legend(fontsize=8)
    figure.suptitle(title, fontsize=11)
    return figure
