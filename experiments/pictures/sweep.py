"""Pictures of a sweep, drawn from its table and its lanes' records."""

import itertools
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import polars as pl
import scipy.stats
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.pictures.axes import PLAIN, legend_below, log_ticks, scale
from experiments.pictures.bands import plot_bands
from experiments.pictures.looks import in_legend, looks
from experiments.pictures.save import save
from experiments.records.run import RunDirectory
from experiments.records.status import Status
from experiments.results.milestones import is_time
from experiments.results.numbers import short
from experiments.results.table import by_setting, label, name_in_words, swept

MOST_CURVES = 8
"""Settings in one picture of curves; of more, those that come first."""
_HEIGHT = 4.2  # inches, without the legend


def plot_sweep(
    root: Path, frame: pl.DataFrame, milestone: str, words: str
) -> list[Path]:
    """Write the pictures that this sweep has; their paths.

    Args:
      root: directory of the sweep.
      frame: its table.
      milestone: that its lanes are compared by.
      words: what that is called.
    """
    figures = {
        "curves.png": curves(root, frame, milestone),
        "survival.png": survival(frame, milestone, words),
        "heat_map.png": heat_map(frame, milestone, words),
    }
    drawn = {root / name: figure for name, figure in figures.items() if figure}
    for path, figure in drawn.items():
        save(figure, path)
    return list(drawn)


def curves(root: Path, frame: pl.DataFrame, milestone: str) -> Figure | None:
    """Accuracy (or loss) and weight norm: median and band of each setting's seeds."""
    groups: dict[str, list[RunDirectory]] = {}
    notes: dict[str, str] = {}
    begun = frame.filter(pl.col("steps_trained") > 0)
    for name, lanes in _best(frame, begun, milestone).items():
        if diverged := int((lanes["status"] == Status.DIVERGED).sum()):
            notes[name] = f" ({diverged} of {len(lanes)} diverged)"
        groups[name] = [RunDirectory(root / "lanes" / lane) for lane in lanes["lane"]]
    if not groups:
        return None
    has_accuracy = "final_validation_accuracy" in frame.columns
    column = "validation_accuracy" if has_accuracy else "validation_loss"
    title = "Median over seeds, and quartiles (of fewer than 5 seeds the range)"
    has_norm = "final_weight_norm" in frame.columns
    columns = (column, "weight_norm") if has_norm else (column,)
    title = _with_note(title, frame)
    return plot_bands(groups, columns, title, _looks(frame), notes)


def survival(frame: pl.DataFrame, milestone: str, words: str) -> Figure | None:
    """Fraction of seeds that have not reached the milestone yet: Kaplan and Meier.

    A lane that never reached it is censored at its last step; one that diverged, which
    never will, at the budget. None if the task has no such milestone.
    """
    if not is_time(milestone) or milestone not in frame.columns:
        return None
    figure = Figure(figsize=(6.4, _HEIGHT), layout="constrained")
    ax = figure.subplots()
    styles = _looks(frame)
    best = _best(frame, frame.filter(pl.col("steps_trained") > 0), milestone)
    lines: dict[str, dict[str, list[Line2D]]] = {}
    notes: dict[str, str] = {}
    for name, lanes in best.items():
        steps, fractions = survival_curve(lanes, milestone)
        notes[name] = f" ({lanes[milestone].count()} of {len(lanes)} got there)"
        curve = ax.step(steps, fractions, where="post", **styles[name])
        lines[name] = {"fraction": curve}
    ax.set(
        xlabel="training steps",
        ylabel="fraction of seeds not yet there",
        ylim=(-0.02, 1.02),
        xlim=(0, None),
    )
    ax.grid(alpha=0.25)
    if lines:
        handles = [of_label["fraction"][0] for of_label in lines.values()]
        legend_below(figure, handles, in_legend(lines, notes), _HEIGHT)
    title = _with_note(words[0].upper() + words[1:], frame)
    figure.suptitle(textwrap.fill(title, 64), fontsize=11)
    return figure


def survival_curve(
    lanes: pl.DataFrame, milestone: str
) -> tuple[np.ndarray, np.ndarray]:
    """Steps, from 0 to the last that was seen, and the fraction not there yet."""
    reached = lanes[milestone].is_not_null().to_numpy()
    ends = np.where(
        lanes["status"].to_numpy() == Status.DIVERGED,
        lanes["steps"],
        lanes["steps_trained"],
    )
    times = np.where(reached, lanes[milestone].fill_null(0), ends).astype(float)
    data = scipy.stats.CensoredData.right_censored(times, ~reached)
    estimate = scipy.stats.ecdf(data).sf
    steps = np.concatenate([[0.0], estimate.quantiles, [times.max()]])
    fractions = np.concatenate(
        [[1.0], estimate.probabilities, [estimate.evaluate(times.max())]]
    )
    return steps, fractions


def heat_map(frame: pl.DataFrame, milestone: str, words: str) -> Figure | None:
    """The milestone's median over two swept numbers; a panel for each other setting.

    Lists give tiles, with the median written in; drawn values give dots. A cross: most
    seeds never got there. None if fewer than two numbers were swept.
    """
    names, found = swept(frame), by_setting(frame, milestone)
    axes, rows = axes_of_map(names, found)
    if not any(row["median"] is not None for row in rows):
        return None
    others = [name for name in names if name not in axes]
    panels: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        panels.setdefault(label(row, others), []).append(row)
    medians = [float(row["median"]) for row in rows if row["median"] is not None]
    low, high = min(medians), max(medians)
    if low == high:
        high = low + 1
    scale = mpl.colors.LogNorm if low > 0 else mpl.colors.Normalize
    norm, colors = scale(low, high), mpl.colormaps["viridis_r"]
    pairs = {tuple(row[n] for n in axes) for row in rows}
    # Of a grid several pairs share a value of either number; draws are all different.
    is_grid = all(len(pairs) > len(set(values)) for values in zip(*pairs, strict=True))

    shown = dict(itertools.islice(panels.items(), MOST_CURVES))
    width = min(4, len(shown))
    height = -(-len(shown) // width)
    figure = Figure(figsize=(1 + 4.2 * width, 3.8 * height), layout="constrained")
    grid = figure.subplots(height, width, squeeze=False).ravel()
    for ax, (title, members) in zip(grid, shown.items(), strict=False):
        draw = _tiles if is_grid else _dots
        draw(ax, members, axes, norm, colors)
        vertical, horizontal = map(name_in_words, axes)
        ax.set(xlabel=horizontal, ylabel=vertical)
        ax.set_title(textwrap.fill(title, 48), fontsize=9)
    for ax in grid[len(shown) :]:
        ax.set_axis_off()
    mappable = mpl.cm.ScalarMappable(norm, colors)
    ticks = log_ticks(low, high) if low > 0 else None
    bar = figure.colorbar(
        mappable, ax=list(grid), label=words, ticks=ticks, format=PLAIN
    )
    bar.minorticks_off()
    note = "" if len(shown) == len(panels) else f" (best {len(shown)} of {len(panels)})"
    never = "; × never in most" if is_time(milestone) else ""
    figure.suptitle(f"Median over seeds{never}{note}", fontsize=11)
    return figure


def axes_of_map(
    names: Sequence[str], rows: Sequence[dict[str, Any]]
) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    """Two numbers of which both have several values where they matter; those rows."""
    kinds = (int, float, type(None))
    numbers = [n for n in names if all(type(row[n]) in kinds for row in rows)]
    for axes in itertools.combinations(numbers, 2):
        chosen = [row for row in rows if all(row[name] is not None for name in axes)]
        if all(len({row[name] for row in chosen}) > 1 for name in axes):
            return axes, chosen
    return (), []


def _tiles(
    ax: Axes,
    rows: Sequence[dict[str, Any]],
    names: Sequence[str],
    norm: Any,
    colors: Any,
) -> None:
    vertical, horizontal = (sorted({row[name] for row in rows}) for name in names)
    for row in rows:
        y, x = vertical.index(row[names[0]]), horizontal.index(row[names[1]])
        if row["median"] is None:
            ax.plot(x, y, "x", color="grey")
            continue
        color = colors(norm(row["median"]))
        tile = mpl.patches.Rectangle((x - 0.5, y - 0.5), 1, 1, color=color)
        ax.add_patch(tile)
        text = "black" if np.dot(color[:3], (0.299, 0.587, 0.114)) > 0.5 else "white"
        median = short(float(row["median"]))
        ax.text(x, y, median, ha="center", va="center", fontsize=8, color=text)
    ax.set_xticks(range(len(horizontal)), map(short, horizontal))
    ax.set_yticks(range(len(vertical)), map(short, vertical))
    ax.set(xlim=(-0.5, len(horizontal) - 0.5), ylim=(-0.5, len(vertical) - 0.5))


def _dots(
    ax: Axes,
    rows: Sequence[dict[str, Any]],
    names: Sequence[str],
    norm: Any,
    colors: Any,
) -> None:
    for row in rows:
        there = row["median"] is not None
        style = {"color": colors(norm(row["median"]))} if there else {"color": "grey"}
        ax.plot(row[names[1]], row[names[0]], "o" if there else "x", **style)
    for axis, name in (("y", names[0]), ("x", names[1])):
        values = np.array([row[name] for row in rows])
        if values.min() > 0 and values.max() > 20 * values.min():
            scale(ax, axis, [values])


def _best(
    frame: pl.DataFrame, lanes: pl.DataFrame, milestone: str
) -> Mapping[str, pl.DataFrame]:
    """The lanes of the best settings, by label."""
    names = swept(frame)
    best: dict[str, pl.DataFrame] = {}
    for row in by_setting(frame, milestone)[:MOST_CURVES]:
        chosen = lanes.filter([pl.col(n).eq_missing(row[n]) for n in names] or True)
        if len(chosen):
            best[_name_of(row, names)] = chosen
    return best


def _looks(frame: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Colour and line of every setting, by its label: by its place in the plan."""
    names = swept(frame)
    rows = frame.select(names).unique(maintain_order=True).rows(named=True)
    return looks(_name_of(row, names) for row in rows or [{}])


def _name_of(row: Mapping[str, Any], names: Sequence[str]) -> str:
    return label(row, names) or "all seeds"


def _with_note(title: str, frame: pl.DataFrame) -> str:
    settings = len(_looks(frame))
    if settings <= MOST_CURVES:
        return title
    return f"{title}: the best {MOST_CURVES} of {settings} settings"
