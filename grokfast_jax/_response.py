"""What a transformation does to the gradient signal, measured by running it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import ArrayLike

from grokfast_jax._checks import (
    check_count,
    check_transformation,
    checked_reals,
    suggest_keywords,
)

_SHORTEST, _LONGEST = 1 << 14, 1 << 21
_SETTLE = 1 << 20
_LATER = 104_729  # a prime: whatever repeats every k updates is at another phase then
_NEGLIGIBLE = 1e-6
_BLOCK = 1024
_AT_ONCE = 64  # frequencies


@suggest_keywords
def impulse_response(
    tx: optax.GradientTransformation, n: int, *, settle: int | None = None
) -> np.ndarray:
    r"""Outputs after a single gradient of 1 among gradients of 0.

    .. math::
      h(t) = \text{output at update } t, \qquad g = (\underbrace{0, …, 0}_{settle},
      1, 0, 0, …), \qquad t = 0 \text{ at the } 1

    Measured in one compiled scan on a scalar parameter of value 0 in float64, so it
    serves any linear transformation: those here, ``optax.trace``, ``optax.ema``,
    chains of them. :func:`is_linear` and :func:`is_time_invariant` tell whether one is.
    The signs are the transformation's own: ``optax.sgd`` has a negative response.

    Args:
      tx: a linear transformation.
      n: number of outputs, ≥ 1.
      settle: updates with zero gradient before the impulse, by default n. They let a
        filter that starts from its first gradient, or waits for a full window, become
        the time-invariant one that it is later. It must be longer than the warm-up:
        ``impulse_response(grokfast_ma(100), 20)`` sees none of the filter.

    Returns:
      ``[n]``, float64, as exact as the transformation's own dtypes (an
      ``accumulator_dtype``, say) let it be. Unit: output per gradient.

    Raises:
      ValueError: n < 1 or settle < 0.
      TypeError: n or settle is not an integer, or tx no transformation.

    Example:
      >>> from grokfast_jax import impulse_response, moving_average
      >>> print(impulse_response(moving_average(4), 6))
      [0.25 0.25 0.25 0.25 0.   0.  ]

    References:
      Lee et al., Grokfast, arXiv 2405.20233, section 2.
    """
    check_count("n", n, 1)
    settle = n if settle is None else settle
    check_count("settle", settle, 0)
    return _outputs(tx, 1.0, n, settle)


def _outputs(
    tx: optax.GradientTransformation, impulse: float, n: int, settle: int
) -> np.ndarray:
    check_transformation("tx", tx)
    tx = optax.with_extra_args_support(tx)

    @jax.jit
    def run() -> jax.Array:
        zero = jnp.zeros([])

        def step(
            state: optax.OptState, g: jax.Array
        ) -> tuple[optax.OptState, jax.Array]:
            output, state = tx.update(g, state, zero)
            return state, output

        gradients = jnp.zeros(settle + n).at[settle].set(impulse)
        return jax.lax.scan(step, tx.init(zero), gradients)[1][settle:]

    with jax.enable_x64(True):
        return np.asarray(run())


@suggest_keywords
def frequency_response(
    tx: optax.GradientTransformation, omega: ArrayLike
) -> np.ndarray:
    r"""Complex gain at angular frequencies.

    .. math:: H(\omega) = \sum_{t \ge 0} h(t)\, e^{-j\omega t}

    from the measured :func:`impulse_response`, after 1,048,576 updates to settle (a
    later start is not seen) and as long as it takes to die out.
    :func:`ema_frequency_response` and :func:`ma_frequency_response` are the closed
    forms of the two averages.

    Args:
      tx: a linear transformation.
      omega: frequencies in radians per update, any shape; π is the Nyquist frequency.

    Returns:
      Complex gains, shaped like omega, complex128.

    Raises:
      ValueError: the response has not died out after 2,097,152 updates, or depends on
        the size of the impulse or on the update at which it comes; omega not finite.
      TypeError: omega is not of real numbers.

    Example:
      >>> import numpy as np
      >>> from grokfast_jax import frequency_response, grokfast_ema
      >>> gains = frequency_response(grokfast_ema(0.98, lamb=2.0), np.array([0, np.pi]))
      >>> print(abs(gains).round(4))
      [3.     1.0202]
    """
    omega = checked_reals("omega", omega)
    response, flat = _whole_response(tx).reshape(-1, _BLOCK), omega.ravel()
    parts = [
        _transform(response, flat[i : i + _AT_ONCE])
        for i in range(0, len(flat), _AT_ONCE)
    ]
    return np.concatenate([*parts, np.zeros(0, complex)]).reshape(omega.shape)


def _transform(response: np.ndarray, omega: np.ndarray) -> np.ndarray:
    """The Fourier transform of a response in blocks ``[T/B, B]`` at frequencies."""
    # e^{−jωt} for t = block · B + i is a product: two small tables, not a large one.
    within = np.exp(-1j * np.outer(np.arange(_BLOCK), omega))
    starts = np.exp(-1j * np.outer(_BLOCK * np.arange(len(response)), omega))
    # As two real products: response @ within would make the response complex first.
    blocks = response @ within.real + 1j * (response @ within.imag)
    return np.asarray(np.sum(starts * blocks, axis=0))


@suggest_keywords
def dc_gain(tx: optax.GradientTransformation) -> float:
    r"""Gain of a constant gradient in the end, :math:`H(0) = \sum_t h(t)`.

    Args:
      tx: a linear transformation.

    Raises:
      ValueError: the response has not died out after 2,097,152 updates, or depends on
        the size of the impulse or on the update at which it comes.

    Example:
      >>> from grokfast_jax import dc_gain, grokfast_ma
      >>> round(dc_gain(grokfast_ma(100, lamb=5.0)), 4)
      6.0
    """
    return float(np.sum(_whole_response(tx)))


@suggest_keywords
def half_life(tx: optax.GradientTransformation) -> float:
    r"""Updates until the answer to a constant gradient has come half of its way.

    The t at which the step response :math:`s(t) = \sum_{u<t} h(u)`, linear in between,
    first reaches half of the :func:`dc_gain`: w/2 for a windowed average, about
    :math:`\ln ½ / \ln α` for a slow exponential one.

    Args:
      tx: a linear transformation whose DC gain is not 0.

    Returns:
      Updates.

    Raises:
      ValueError: the DC gain is 0, the response has not died out after 2,097,152
        updates, or depends on the size of the impulse or on the update at which it
        comes.

    Example:
      >>> from grokfast_jax import half_life, moving_average
      >>> round(half_life(moving_average(100)), 3)
      50.0
    """
    response = _whole_response(tx)
    total = np.sum(response)
    if abs(total) <= _NEGLIGIBLE * np.sum(np.abs(response)):
        raise ValueError("the transformation has a DC gain of 0, so no half-life.")
    way = np.concatenate([[0.0], np.cumsum(response)]) / total
    after = int(np.argmax(way >= 0.5))
    return float(after - (way[after] - 0.5) / (way[after] - way[after - 1]))


def _whole_response(tx: optax.GradientTransformation) -> np.ndarray:
    """The impulse response in float64, long enough that the second half is nothing."""
    n = _SHORTEST
    while n <= _LONGEST:
        response = _outputs(tx, 1.0, n, _SETTLE)
        if not np.isfinite(response).all():
            raise ValueError(
                "the response is not finite: the transformation is unstable."
            )
        size = np.abs(response)
        if np.sum(size[n // 2 :]) <= _NEGLIGIBLE * np.sum(size):
            _check_repeats(tx, response)
            return response
        n *= 2
    raise ValueError(
        f"the response has not died out after {_LONGEST:,} updates: the transformation "
        "is not stable, or slower than can be measured."
    )


def _check_repeats(tx: optax.GradientTransformation, response: np.ndarray) -> None:
    """Another impulse, later, must have the same response."""
    other = _outputs(tx, -2.0, len(response), _SETTLE + _LATER) / -2
    error = np.max(np.abs(other - response))
    if not error <= _NEGLIGIBLE * np.max(np.abs(response)):
        raise ValueError(
            f"the response to an impulse of −2 after {_SETTLE + _LATER:,} updates is "
            f"not −2 times that to an impulse of 1 after {_SETTLE:,}: the "
            "transformation has no one response (see is_linear, is_time_invariant)."
        )
