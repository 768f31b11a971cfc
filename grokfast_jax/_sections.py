"""Sections of a rational filter: read from coefficients, written to suffer least.

A section is a numerator and a denominator. Which powers its coefficients belong to, of
z, z − 1 or z + 1, is chosen where their rounding changes the response least; what may
then still go wrong, poles outside of the unit circle and poles that rounding moves, is
told here.
"""

import warnings
from fractions import Fraction
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from grokfast_jax._checks import checked_reals

_MOVED = 0.01  # of a pole's distance to the unit circle
_CHANGED = 5e-6  # of the largest gain: half of what float32 is asked for
_LONGEST = 17  # coefficients: powers of z ∓ 1 multiply rounding by up to 2¹⁶


class Section(NamedTuple):
    """Numerator and denominator, of equal length, a₀ = 1, in powers of z − center.

    Around 0 (transposed direct form II) each delay forgets at once; around 1 or −1 (its
    delta form) each is an accumulator, and coefficients of filters with all poles near
    there are small numbers, whose rounding hardly moves a pole.
    """

    b: np.ndarray
    a: np.ndarray
    center: int


def parse_sections(
    b: ArrayLike | None, a: ArrayLike, sos: ArrayLike | None
) -> list[Section]:
    """One section of b and a, or those of sos; checked, each around its best center."""
    if (b is None) == (sos is None):
        raise ValueError("give either b (and a) or sos, not both and not neither.")
    if sos is not None:
        if not np.array_equal(a, (1.0,)):
            raise ValueError("sos holds its denominators: give no a beside it.")
        sections = _coefficients("sos", sos, dimensions=2)
        if sections.shape[1] != 6:
            raise ValueError(
                f"sos must have the shape [sections, 6], got {sections.shape}."
            )
        pairs = [(section[:3], section[3:]) for section in sections]
    else:
        pairs = [(_coefficients("b", b), _coefficients("a", a))]
    return [_section(*pair) for pair in pairs]


def _coefficients(name: str, values: object, dimensions: int = 1) -> np.ndarray:
    array = checked_reals(name, values)
    if array.ndim != dimensions or array.size == 0:
        raise ValueError(
            f"{name} must have {dimensions} dimension(s) and not be empty, got the "
            f"shape {array.shape}. (Second-order sections are the argument sos.)"
        )
    return array


def _section(b: np.ndarray, a: np.ndarray) -> Section:
    if a[0] == 0:
        raise ValueError("the first coefficient of a denominator must not be 0.")
    length = max(len(b), len(a))
    b, a = (np.pad(c, (0, length - len(c))) / a[0] for c in (b, a))
    is_fir = not a[1:].any()
    centers = (0,) if is_fir or length > _LONGEST else (0, 1, -1)
    return min(
        (Section(_around(center, b), _around(center, a), center) for center in centers),
        key=_sensitivity,
    )


def _around(center: int, c: np.ndarray) -> np.ndarray:
    """Coefficients of a polynomial of z in powers of z − center, highest first."""
    if center == 0:
        return c
    exact = [Fraction(x) for x in c.tolist()]
    for n in range(len(exact), 1, -1):  # divide by z − center; the rest is the last
        for i in range(1, n):
            exact[i] += center * exact[i - 1]
    return np.array([float(x) for x in exact])


def _sensitivity(section: Section) -> float:
    """How far relative errors ε of the coefficients change the response, over ε.

    The first-order bound of |ΔH|, relative to the largest |H|, at frequencies among
    which are those of the poles.
    """
    b, a, center = section
    omega = np.append(np.linspace(0, np.pi, 257), np.angle(_poles(section)))
    z = np.exp(1j * omega) - center
    denominator = np.polyval(a, z)
    # Not at a pole on the unit circle.
    z, denominator = z[denominator != 0], denominator[denominator != 0]
    gain = np.abs(np.polyval(b, z) / denominator)
    terms_of_a = np.polyval(np.abs(np.append(0.0, a[1:])), np.abs(z))
    terms = np.polyval(np.abs(b), np.abs(z)) + gain * terms_of_a
    return float(np.max(terms / np.abs(denominator)) / max(np.max(gain), 1e-300))


def _poles(section: Section, dtype: DTypeLike = np.float64) -> np.ndarray:
    """The poles, with the coefficients rounded to a dtype."""
    return section.center + np.roots(section.a.astype(dtype).astype(np.float64))


def check_stable(sections: list[Section]) -> None:
    """Check that all poles lie inside of the unit circle."""
    poles = np.concatenate([_poles(section) for section in sections])
    radius = max(np.abs(poles), default=0.0)
    if radius >= 1:
        raise ValueError(
            f"the filter is unstable: its largest pole radius is {radius:.6g}, which "
            "must be < 1; allow_unstable=True accepts it."
        )


def warn_of_rounding(sections: list[Section], dtype: np.dtype) -> None:
    """Warn where rounding the coefficients to a dtype would change the filter."""
    moved = max(_moved(section, dtype) for section in sections)
    long = [s for s in sections if len(s.a) > 3 and s.a[1:].any()]  # no FIR filters
    rounding = float(jnp.finfo(dtype).eps) / 2
    changed = max((rounding * _sensitivity(section) for section in long), default=0.0)
    if moved <= _MOVED and changed <= _CHANGED:
        return
    what = f"moves a pole by {moved:.1%} of its distance to the unit circle"
    if moved <= _MOVED:
        what = f"may change the response by {changed:.1e} of its largest gain"
    wider = "float64" if jnp.finfo(dtype).bits >= 32 else "float32"
    advice = ["second-order sections (sos=…)"] if long else []
    advice += [f"accumulator_dtype=jnp.{wider}"]
    if jax.dtypes.canonicalize_dtype(wider) != wider:
        advice[-1] += " with jax_enable_x64, without which it is float32"
    warnings.warn(
        f"rounding the coefficients to {dtype} {what}: use {' or '.join(advice)}.",
        stacklevel=3,
    )


def _moved(section: Section, dtype: np.dtype) -> float:
    """The largest move of a pole by rounding, over its distance to the unit circle."""
    poles, rounded = _poles(section), _poles(section, dtype)
    distances, worst = np.abs(poles[:, None] - rounded), 0.0
    for _ in poles:  # the closest two belong together, then those of the rest
        i, j = np.unravel_index(np.argmin(distances), distances.shape)
        room = max(abs(1 - abs(poles[i])), 1e-300)
        worst = max(worst, float(distances[i, j] / room))
        distances[i], distances[:, j] = np.inf, np.inf
    return worst
