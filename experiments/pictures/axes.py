"""Axes and legends that can be read, of short runs and of long ones."""

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FuncFormatter,
    Locator,
    LogLocator,
    MaxNLocator,
    NullFormatter,
)

_LEAST_RATIO = 3  # of the ends of a logarithmic axis
_DECADES = 3  # from which powers of ten alone are enough labels
_LABELLED = (1.0, 2.0, 5.0)  # in each of fewer
_STEPS = [1, 2, 5, 10]
PLAIN = FuncFormatter(lambda value, _: f"{value:,.10g}")
"""Numbers without powers of ten."""


def scale(ax: Axes, which: str, values: Iterable[np.ndarray]) -> None:
    """Make an axis logarithmic, if the values on it differ enough.

    Matplotlib labels what lies between the powers of ten where few of them are seen,
    and the labels of short runs overlap: here 1, 2 and 5 have labels then.

    Args:
      ax: the axes.
      which: "x" or "y".
      values: all that is drawn; what is not finite and positive has no place.
    """
    drawn = np.concatenate([np.zeros(0), *map(np.ravel, values)])
    drawn = drawn[np.isfinite(drawn) & (drawn > 0)]
    is_log = len(drawn) > 0 and drawn.max() >= _LEAST_RATIO * drawn.min()
    getattr(ax, f"set_{which}scale")("log" if is_log else "linear")
    axis = getattr(ax, f"{which}axis")
    if not is_log:
        if (drawn == np.rint(drawn)).all():  # steps are whole
            axis.set_major_locator(MaxNLocator(8, integer=True, steps=_STEPS))
        return
    if not _has_many_decades(drawn.min(), drawn.max()):
        axis.set_major_locator(LogLocator(subs=_LABELLED))
        axis.set_major_formatter(PLAIN)
    axis.set_minor_formatter(NullFormatter())


def log_ticks(low: float, high: float) -> Locator:
    """Where the axis of a logarithmic colour bar has labels."""
    if high < _LEAST_RATIO * low:
        return MaxNLocator(6, steps=_STEPS)
    return LogLocator(subs=(1.0,) if _has_many_decades(low, high) else _LABELLED)


def _has_many_decades(low: float, high: float) -> bool:
    return bool(np.log10(high / low) >= _DECADES)


def legend_below(
    figure: Figure, handles: Sequence[Any], labels: Sequence[str], height: float
) -> None:
    """A legend in as many columns as fit; the figure grows, the axes do not shrink.

    Args:
      figure: whose legend it is.
      handles: lines and markers.
      labels: their texts; long ones are folded.
      height: of the figure without legend, in inches.
    """
    width = figure.get_figwidth()
    labels = [textwrap.fill(label, int(12 * width)) for label in labels]
    longest = max(len(line) for label in labels for line in label.splitlines())
    columns = max(1, int(width / (0.6 + 0.07 * longest)))  # inches
    legend = figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, fontsize=8
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a name of a run may have dollars
    figure.set_figheight(height + legend.get_window_extent().height / figure.dpi)
