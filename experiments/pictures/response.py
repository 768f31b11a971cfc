"""Pictures of filters: what they do to each frequency of the gradient."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from experiments.results.response import GRID, Response

_STYLES = ("-", "--", ":", "-.")


def figure_of(responses: Sequence[Response]) -> Figure:
    """Magnitude, phase and impulse response of several filters in one picture."""
    figure = Figure(figsize=(14, 4.4), layout="constrained")
    magnitude, phase, impulse = figure.subplots(1, 3)
    for i, response in enumerate(responses):
        style = {
            "label": response.label,
            "color": f"C{i}",
            "linestyle": _STYLES[i % len(_STYLES)],
        }
        magnitude.plot(GRID, 20 * np.log10(np.abs(response.gains)), **style)
        phase.plot(GRID, np.degrees(np.angle(response.gains)), **style)
        impulse.plot(response.impulse, drawstyle="steps-post", **style)
    for axes, what in ((magnitude, "gain of 1 + λH, dB"), (phase, "phase, degrees")):
        axes.set(xscale="log", xlabel="frequency, radians per update", ylabel=what)
        second = axes.secondary_xaxis("top", functions=(_period, _period))
        second.set_xlabel("period, updates")
    impulse.set(xlabel="updates after the gradient", ylabel="impulse response of H")
    magnitude.legend(fontsize=8)
    for axes in (magnitude, phase, impulse):
        axes.grid(alpha=0.25)
    return figure


def _period(x: np.ndarray) -> np.ndarray:
    return 2 * np.pi / np.maximum(x, 1e-12)
