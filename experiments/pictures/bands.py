"""Pictures of many seeds: a median curve and a band for each group of runs."""

import functools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from experiments.pictures.axes import legend_below, scale
from experiments.pictures.looks import in_legend, looks
from experiments.records.run import RunDirectory

QUARTILES_FROM = 5
"""Fewer runs than these have no quartiles worth the name: their band is the range."""
_HEIGHT = 4.2  # inches, without the legend


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
    styles: Mapping[str, Mapping[str, Any]] | None = None,
    notes: Mapping[str, str] | None = None,
) -> Figure:
    """Columns of the metrics against log steps, from the first after 0, side by side.

    Args:
      groups: runs that differ in their seed alone, by the group's label.
      columns: an accuracy is drawn in per cent, a loss on a logarithmic axis.
      title: above all.
      styles: colour and line of each label; by default by its place.
      notes: what the legend says after a label.
    """
    figure = Figure(figsize=(5.2 * len(columns), _HEIGHT), layout="constrained")
    axes = figure.subplots(1, len(columns), squeeze=False)[0]
    styles = styles or looks(groups)
    lines: dict[str, dict[str, list[Line2D]]] = {label: {} for label in groups}
    for ax, column in zip(axes, columns, strict=True):
        for label, runs in groups.items():
            what = column.replace("_", " ")
            lines[label][what] = _draw(ax, runs, column, styles[label])
        _scale(ax, column)
    medians = [next(iter(of_label.values()))[0] for of_label in lines.values()]
    legend_below(figure, medians, in_legend(lines, notes), _HEIGHT)
    figure.suptitle(title, fontsize=11)
    return figure


def _draw(
    ax: Axes, runs: Sequence[RunDirectory], column: str, style: Mapping[str, Any]
) -> list[Line2D]:
    """The median of some runs and both edges of its band, as lines."""
    steps, median, low, high = band(runs, column)
    # Step 0 has no place there, and a line from it would look measured.
    shown = (steps > 0) & np.isfinite(median)
    steps, median, low, high = (a[shown] for a in (steps, median, low, high))
    color = style["color"]
    ax.fill_between(steps, low, high, color=color, alpha=0.2, linewidth=0)
    lines = ax.plot(steps, median, linewidth=1.6, **style)
    # Without width: the band has no outline, but tells whether it is another's.
    return lines + ax.plot(steps, np.column_stack([low, high]), linewidth=0)


def _scale(ax: Axes, column: str) -> None:
    ax.set(xlabel="training steps", ylabel=column.replace("_", " "))
    ax.grid(alpha=0.25)
    if column.endswith("accuracy"):
        ax.set_ylim(-0.02, 1.02)
        ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    elif column.endswith(("loss", "step_size")):
        scale(ax, "y", [np.asarray(line.get_ydata()) for line in ax.lines])
    else:  # with room above: a norm that hardly falls is not on the frame
        ax.set_ylim(0, 1.1 * ax.get_ylim()[1])
    scale(ax, "x", [np.asarray(line.get_xdata()) for line in ax.lines])
