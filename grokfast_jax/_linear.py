"""Any linear, time-invariant filter of the gradient signal, from its coefficients."""

import warnings
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from grokfast_jax._checks import check_accumulator_dtype, check_flag
from grokfast_jax._trees import accumulator_dtype_for, init_inexact, map_inexact


class LinearFilterState(NamedTuple):
    """State of :func:`linear_filter`.

    Attributes:
      delays: for each section, as many copies of the parameters as its order: the
        delay elements of the transposed direct form II, or the accumulators of its
        delta form.
    """

    delays: tuple[tuple[Any, ...], ...]


_MOVED = 0.01  # of a pole's distance to the unit circle
_CHANGED = 5e-6  # of the largest gain: half of what float32 is asked for
_LONGEST = 17  # coefficients: powers of z ∓ 1 multiply rounding by up to 2¹⁶


class _Section(NamedTuple):
    """Numerator and denominator, of equal length, a₀ = 1, in powers of z − center.

    Around 0 (transposed direct form II) each delay forgets at once; around 1 or −1 (its
    delta form) each is an accumulator, and coefficients of filters with all poles near
    there are small numbers, whose rounding hardly moves a pole.
    """

    b: np.ndarray
    a: np.ndarray
    center: int


def linear_filter(
    b: Sequence[float] | None = None,
    a: Sequence[float] = (1.0,),
    *,
    sos: Any = None,
    allow_unstable: bool = False,
    accumulator_dtype: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Rational filter of the gradients: any FIR or IIR difference equation.

    .. math::
      \sum_{k=0}^{N} a_k\, y_{t-k} = \sum_{k=0}^{M} b_k\, g_{t-k}, \qquad
      H(z) = \frac{\sum_k b_k z^{-k}}{\sum_k a_k z^{-k}}

    from zero initial state, per parameter, in the transposed direct form II or its
    delta form around 1 or −1, whichever suffers least from rounded coefficients. The
    arguments are those of ``scipy.signal.lfilter`` and ``sosfilt``.

    In float32 outputs are within 1e-5 of the largest one for filters of up to fourth
    order with pole radii ≤ 0.95 and for slow Butterworth sections; 3e-5 was measured
    where a pole pair off the real axis is doubled, which ``init`` warns of.

    Args:
      b: numerator :math:`b_0 … b_M`.
      a: denominator :math:`a_0 … a_N`, :math:`a_0 ≠ 0`; ``(1,)`` for an FIR filter.
      sos: instead of b and a, second-order sections ``[sections, 6]``, each
        :math:`(b_0, b_1, b_2, a_0, a_1, a_2)`, such as
        ``scipy.signal.butter(4, 0.01, output="sos")`` returns. Prefer them for
        orders above 2: a transfer function loses poles that lie close to one another
        and to the unit circle.
      allow_unstable: accept poles on or outside of the unit circle.
      accumulator_dtype: dtype of state and arithmetic. By default the parameters'
        own, but float32 for 16-bit ones.

    Returns:
      A transformation that maps g to y in the dtype of g and ignores extra arguments.
      State: max(M, N) copies of the parameters, or 2 per section. Integer, ``None``
      and masked leaves pass through unchanged and have no state.

    Raises:
      ValueError: no or both of b and sos, a beside sos, wrong shape, a₀ = 0,
        coefficients that are not finite, or a pole of modulus ≥ 1 without
        ``allow_unstable``.
      TypeError: coefficients that are not concrete real numbers.

    Warns:
      UserWarning: from ``init``, when the rounding of the coefficients to the state's
        dtype moves a pole by more than 1 % of its distance to the unit circle, or, in
        a transfer function of order above 2, may change the response by more than
        5e-6 of its largest gain.

    Example:
      The exponential moving average with α = 0.9 from zero state:

      >>> import jax.numpy as jnp
      >>> from grokfast_jax import amplify, linear_filter
      >>> low_pass = linear_filter(b=(0.1,), a=(1.0, -0.9))
      >>> state = low_pass.init(jnp.zeros(()))
      >>> for g in (1.0, 0.0, 0.0):
      ...     out, state = low_pass.update(jnp.float32(g), state)
      ...     print(f"{out:.3f}")
      0.100
      0.090
      0.081
      >>> tx = amplify(low_pass, lamb=2.0)  # Grokfast with this filter

    References:
      Oppenheim and Schafer, Discrete-Time Signal Processing, section 6.3; Middleton
      and Goodwin, Improved finite word length characteristics in digital control using
      delta operators, IEEE Transactions on Automatic Control, 1986.
    """
    check_flag("allow_unstable", allow_unstable)
    check_accumulator_dtype(accumulator_dtype)
    sections = _sections(b, a, sos)
    if not allow_unstable:
        _check_stable(sections)

    def init_fn(params: Any) -> LinearFilterState:
        dtypes = set()

        def zeros(p: Any) -> jax.Array:
            dtype = accumulator_dtype_for(p, accumulator_dtype)
            dtypes.add(jnp.finfo(dtype).dtype)
            return jnp.zeros_like(p, dtype=dtype)

        delays = tuple(
            tuple(init_inexact(zeros, params) for _ in section.b[1:])
            for section in sections
        )
        for dtype in dtypes:
            _warn_of_rounding(sections, dtype)
        return LinearFilterState(delays)

    def update_fn(
        updates: Any, state: LinearFilterState, params: Any = None, **extra_args: Any
    ) -> tuple[Any, LinearFilterState]:
        del params, extra_args

        def widen(g: jax.Array) -> jax.Array:
            return g.astype(accumulator_dtype_for(g, accumulator_dtype))

        signal, new_delays = map_inexact(widen, updates), []
        for section, delays in zip(sections, state.delays, strict=True):
            signal, delays = _step(section, signal, delays)
            new_delays.append(delays)
        outputs = map_inexact(lambda g, y: y.astype(g.dtype), updates, signal)
        return outputs, LinearFilterState(tuple(new_delays))

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _step(
    section: _Section, x: Any, delays: tuple[Any, ...]
) -> tuple[Any, tuple[Any, ...]]:
    """One step: y = b₀x + z₁, zᵢ ← center·zᵢ + zᵢ₊₁ + bᵢx − aᵢy."""
    b, a, center = section

    def output(x: jax.Array, *first: jax.Array) -> jax.Array:
        return sum(first, float(b[0]) * x)

    y = map_inexact(output, x, *delays[:1])

    def shift(i: int) -> Any:
        def advance(z: jax.Array, x: jax.Array, y: jax.Array, *after: Any) -> jax.Array:
            kept = (center * z,) if center else ()
            terms = sum(after, float(b[i]) * x - float(a[i]) * y)
            return sum(kept, terms).astype(z.dtype)

        return map_inexact(advance, delays[i - 1], x, y, *delays[i : i + 1])

    return y, tuple(shift(i) for i in range(1, len(b)))


def _sections(b: Any, a: Any, sos: Any) -> list[_Section]:
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


def _coefficients(name: str, values: Any, dimensions: int = 1) -> np.ndarray:
    if isinstance(values, jax.core.Tracer):
        raise TypeError(f"{name} must be concrete numbers, not traced ones.")
    array = np.asarray(values)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must be real numbers, got {values!r}.")
    if array.ndim != dimensions or array.size == 0:
        raise ValueError(
            f"{name} must have {dimensions} dimension(s) and not be empty, got the "
            f"shape {array.shape}. (Second-order sections are the argument sos.)"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {values!r}.")
    return array.astype(np.float64)


def _section(b: np.ndarray, a: np.ndarray) -> _Section:
    if a[0] == 0:
        raise ValueError("the first coefficient of a denominator must not be 0.")
    length = max(len(b), len(a))
    b, a = (np.pad(c, (0, length - len(c))) / a[0] for c in (b, a))
    is_fir = not a[1:].any()
    centers = (0,) if is_fir or length > _LONGEST else (0, 1, -1)
    return min(
        (
            _Section(_around(center, b), _around(center, a), center)
            for center in centers
        ),
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


def _sensitivity(section: _Section) -> float:
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


def _poles(section: _Section, dtype: Any = np.float64) -> np.ndarray:
    """The poles, with the coefficients rounded to a dtype."""
    return section.center + np.roots(section.a.astype(dtype).astype(np.float64))


def _check_stable(sections: list[_Section]) -> None:
    poles = np.concatenate([_poles(section) for section in sections])
    radius = max(np.abs(poles), default=0.0)
    if radius >= 1:
        raise ValueError(
            f"the filter is unstable: its largest pole radius is {radius:.6g}, which "
            "must be < 1; allow_unstable=True accepts it."
        )


def _warn_of_rounding(sections: list[_Section], dtype: Any) -> None:
    """Compare each section with that of rounded coefficients."""
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


def _moved(section: _Section, dtype: Any) -> float:
    """The largest move of a pole by rounding, over its distance to the unit circle."""
    poles, rounded = _poles(section), _poles(section, dtype)
    distances, worst = np.abs(poles[:, None] - rounded), 0.0
    for _ in poles:  # the closest two belong together, then those of the rest
        i, j = np.unravel_index(np.argmin(distances), distances.shape)
        room = max(abs(1 - abs(poles[i])), 1e-300)
        worst = max(worst, float(distances[i, j] / room))
        distances[i], distances[:, j] = np.inf, np.inf
    return worst
