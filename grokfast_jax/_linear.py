"""Any linear, time-invariant filter of the gradient signal, from its coefficients."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from numpy.typing import ArrayLike

from grokfast_jax._checks import (
    check_accumulator_dtype,
    check_flag,
    suggest_keywords,
)
from grokfast_jax._matching import check_length, check_match, check_params, check_state
from grokfast_jax._sections import (
    Section,
    check_stable,
    parse_sections,
    warn_of_rounding,
)
from grokfast_jax._trees import accumulator_dtype_for, map_inexact, zero_accumulators


class LinearFilterState(NamedTuple):
    """State of :func:`linear_filter`.

    Attributes:
      delays: for each section, as many copies of the parameters as its order: the
        delay elements of the transposed direct form II, or the accumulators of its
        delta form.
    """

    delays: tuple[tuple[optax.Updates, ...], ...]


@suggest_keywords
def linear_filter(
    b: ArrayLike | None = None,
    a: ArrayLike = (1.0,),
    *,
    sos: ArrayLike | None = None,
    allow_unstable: bool = False,
    accumulator_dtype: jax.typing.DTypeLike | None = None,
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
    sections = parse_sections(b, a, sos)
    if not allow_unstable:
        check_stable(sections)

    def init_fn(params: optax.Params) -> LinearFilterState:
        delays = tuple(
            tuple(zero_accumulators(params, accumulator_dtype) for _ in section.b[1:])
            for section in sections
        )
        for dtype in {jnp.finfo(z.dtype).dtype for z in jax.tree.leaves(delays)}:
            warn_of_rounding(sections, dtype)
        return LinearFilterState(delays)

    def update_fn(
        updates: optax.Updates,
        state: LinearFilterState,
        params: optax.Params | None = None,
        **extra_args: object,
    ) -> tuple[optax.Updates, LinearFilterState]:
        del extra_args
        check_state("linear_filter", state, LinearFilterState)
        check_length("linear_filter", "sections", len(state.delays), len(sections))
        for section, delays in zip(sections, state.delays, strict=True):
            order = len(section.b) - 1
            check_length("linear_filter: a section", "delays", len(delays), order)
            if delays:
                check_match(updates, delays[0])
        check_params(updates, params)  # a filter of order 0 has no state to compare

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
    section: Section, x: optax.Updates, delays: tuple[optax.Updates, ...]
) -> tuple[optax.Updates, tuple[optax.Updates, ...]]:
    """One step: y = b₀x + z₁, zᵢ ← center·zᵢ + zᵢ₊₁ + bᵢx − aᵢy."""
    b, a, center = section

    def output(x: jax.Array, *first: jax.Array) -> jax.Array:
        return sum(first, float(b[0]) * x)

    y = map_inexact(output, x, *delays[:1])

    def shift(i: int) -> optax.Updates:
        def advance(
            z: jax.Array, x: jax.Array, y: jax.Array, *after: jax.Array
        ) -> jax.Array:
            kept = (center * z,) if center else ()
            terms = sum(after, float(b[i]) * x - float(a[i]) * y)
            return sum(kept, terms).astype(z.dtype)

        return map_inexact(advance, delays[i - 1], x, y, *delays[i : i + 1])

    return y, tuple(shift(i) for i in range(1, len(b)))
