"""What a gradient filter does, measured: gains, corner frequency, delay."""

import dataclasses

import numpy as np
import optax

from experiments.settings.method import Filter
from grokfast_jax import (
    dc_gain,
    frequency_response,
    half_life,
    impulse_response,
    sum_of,
)

GRID = np.geomspace(1e-5, np.pi, 3000)
"""Frequencies, radians per update."""
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


def low_pass(filter: Filter) -> optax.GradientTransformation:
    """H alone: the whole with λ = 1, less the gradient itself."""
    values = filter.in_effect() | {"lamb": 1.0, "normalize": False}
    whole = type(filter)(**values).build()
    return sum_of((whole, 1.0), (optax.identity(), -1.0))


def measure(filter: Filter) -> Response:
    """Run the filter and measure it; once it has settled, whatever its start."""
    whole, slow = filter.build(), low_pass(filter)
    at_nyquist, *rest = frequency_response(whole, np.append(np.pi, GRID))
    gains = np.array(rest)
    at_dc, near_dc, *slow_gains = frequency_response(slow, np.array([0, _TINY, *GRID]))
    size = np.abs(slow_gains) / abs(at_dc)
    smallest = int(np.argmin(np.abs(gains)))
    cutoff = _first_below(size, np.sqrt(0.5))
    updates = half_life(slow)
    measures = {
        "dc_gain": dc_gain(whole),
        "nyquist_gain": float(abs(at_nyquist)),
        "smallest_gain": float(abs(gains[smallest])),
        "smallest_gain_period": float(2 * np.pi / GRID[smallest]),
        "cutoff": cutoff,
        "cutoff_period": None if cutoff is None else 2 * np.pi / cutoff,
        "delay": float(-np.angle(near_dc / at_dc) / _TINY),
        "half_life": updates,
    }
    return Response(
        filter.label(), measures, gains, impulse_response(slow, int(6 * updates) + 12)
    )


def _first_below(size: np.ndarray, level: float) -> float | None:
    """Where a curve on the grid first falls to a level, between two points."""
    below = np.flatnonzero(size <= level)
    if not below.size:
        return None
    if (i := int(below[0])) == 0:
        return float(GRID[0])
    part = (size[i - 1] - level) / (size[i - 1] - size[i])
    return float(GRID[i - 1] + part * (GRID[i] - GRID[i - 1]))
