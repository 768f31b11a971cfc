"""What a gradient filter does, measured: gains, corner frequency, delay, a picture."""

import dataclasses
from typing import Any

import numpy as np
import optax
from matplotlib.figure import Figure

from experiments.methods.optimizers import build_filter
from experiments.settings.config import FilterOptions
from grokfast_jax import (
    dc_gain,
    frequency_response,
    half_life,
    impulse_response,
    sum_of,
)

_GRID = np.geomspace(1e-5, np.pi, 3000)  # radians per update
_TINY = 1e-6  # a frequency at which the phase is the delay times it
MEASURES = {
    "dc_gain": "gain at DC",
    "nyquist_gain": "gain at the Nyquist frequency",
    "smallest_gain": "smallest gain",
    "smallest_gain_period": "… at the period, updates",
    "cutoff": "−3 dB of H, radians per update",
    "cutoff_period": "… period, updates",
    "delay": "delay of H, updates",
    "half_life": "half-life of H, updates",
}
_STYLES = ("-", "--", ":", "-.")


@dataclasses.dataclass(frozen=True)
class Response:
    """The measured response of one filter.

    Attributes:
      label: its settings, in words.
      measures: those of :data:`MEASURES`, gains of the whole 1 + λH; the cut-off is
        against H's gain at DC, None if it never falls so far; the delay is the group
        delay at DC.
      gains: of the whole on a grid of frequencies, complex.
      impulse: response of the low-pass.
    """

    label: str
    measures: dict[str, float | None]
    gains: np.ndarray
    impulse: np.ndarray


def low_pass(options: FilterOptions) -> optax.GradientTransformation:
    """H alone: the whole with λ = 1, less the gradient itself."""
    whole = build_filter(dataclasses.replace(options, lamb=1.0, normalize=False))
    return sum_of((whole, 1.0), (optax.identity(), -1.0))


def measure(options: FilterOptions) -> Response:
    """Run the filter and measure it; once it has settled, whatever its start."""
    whole, slow = build_filter(options), low_pass(options)
    at_nyquist, *gains = frequency_response(whole, np.append(np.pi, _GRID))
    at_dc, near_dc, *slow_gains = frequency_response(slow, [0.0, _TINY, *_GRID])
    gains, size = np.array(gains), np.abs(slow_gains) / abs(at_dc)
    smallest = int(np.argmin(np.abs(gains)))
    cutoff = _first_below(size, np.sqrt(0.5))
    updates = half_life(slow)
    measures = {
        "dc_gain": dc_gain(whole),
        "nyquist_gain": float(abs(at_nyquist)),
        "smallest_gain": float(abs(gains[smallest])),
        "smallest_gain_period": float(2 * np.pi / _GRID[smallest]),
        "cutoff": cutoff,
        "cutoff_period": None if cutoff is None else 2 * np.pi / cutoff,
        "delay": float(-np.angle(near_dc / at_dc) / _TINY),
        "half_life": updates,
    }
    return Response(
        _label(options), measures, gains, impulse_response(slow, int(6 * updates) + 12)
    )


def _first_below(size: np.ndarray, level: float) -> float | None:
    """Where a curve on the grid first falls to a level, between two points."""
    below = np.flatnonzero(size <= level)
    if not below.size:
        return None
    if (i := int(below[0])) == 0:
        return float(_GRID[0])
    part = (size[i - 1] - level) / (size[i - 1] - size[i])
    return float(_GRID[i - 1] + part * (_GRID[i] - _GRID[i - 1]))


def _label(options: FilterOptions) -> str:
    memory = {
        "ema": f"EMA α = {options.alpha:g}",
        "ma": f"MA w = {options.window_size}",
    }
    kind = " (sum)" if (options.filter, options.filter_type) == ("ma", "sum") else ""
    normalized = ", normalized" if options.normalize else ""
    return f"{memory[options.filter]}{kind}, λ = {options.gain:g}{normalized}"


def figure_of(responses: list[Response]) -> Figure:
    """Magnitude, phase and impulse response of several filters in one picture."""
    figure = Figure(figsize=(14, 4.4), layout="constrained")
    magnitude, phase, impulse = figure.subplots(1, 3)
    for i, response in enumerate(responses):
        style = {
            "label": response.label,
            "color": f"C{i}",
            "linestyle": _STYLES[i % len(_STYLES)],
        }
        magnitude.plot(_GRID, 20 * np.log10(np.abs(response.gains)), **style)
        phase.plot(_GRID, np.degrees(np.angle(response.gains)), **style)
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


def _period(x: Any) -> Any:
    return 2 * np.pi / np.maximum(x, 1e-12)
