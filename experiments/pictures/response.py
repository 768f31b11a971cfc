"""Pictures of filters: what they do to each frequency of the gradient."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.pictures.axes import legend_below
from experiments.pictures.looks import in_legend, looks
from experiments.results.response import GRID, Response

_HEIGHT = 4.4  # inches, without the legend
_FLAT = 0.03  # of the largest change of a gain: less is not seen


def figure_of(responses: Sequence[Response]) -> Figure:
    """Magnitude, phase and impulse response of several filters in one picture."""
    figure = Figure(figsize=(14, _HEIGHT), layout="constrained")
    magnitude, phase, impulse = figure.subplots(1, 3)
    styles = looks(response.label for response in responses)
    lines: dict[str, dict[str, list[Line2D]]] = {}
    for response in responses:
        style = styles[response.label]
        decibels = 20 * np.log10(np.abs(response.gains))
        degrees = np.degrees(np.angle(response.gains))
        lines[response.label] = {
            "gain": magnitude.plot(GRID, decibels, **style),
            "phase": phase.plot(GRID, degrees, **style),
            "response": impulse.plot(response.impulse, drawstyle="steps-post", **style),
        }
    lowest = min(_first_change(response.gains) for response in responses)
    for axes, what in ((magnitude, "gain of 1 + λH, dB"), (phase, "phase, degrees")):
        axes.set(xscale="log", xlabel="frequency, radians per update", ylabel=what)
        axes.set_xlim(lowest / 2, 1.1 * np.pi)
        second = axes.secondary_xaxis("top", functions=(_period, _period))
        second.set_xlabel("period, updates")
    impulse.set(xlabel="updates after the gradient", ylabel="impulse response of H")
    for axes in (magnitude, phase, impulse):
        axes.grid(alpha=0.25)
    handles = [of_label["gain"][0] for of_label in lines.values()]
    legend_below(figure, handles, in_legend(lines), _HEIGHT)
    return figure


def _first_change(gains: np.ndarray) -> float:
    """The frequency from which on a response is not that at DC any more."""
    changes = np.abs(gains - gains[0])
    seen = np.flatnonzero(changes > _FLAT * changes.max())
    return float(GRID[seen[0]]) if seen.size else float(GRID[-1]) / 100


def _period(x: np.ndarray) -> np.ndarray:
    return 2 * np.pi / np.maximum(x, 1e-12)
