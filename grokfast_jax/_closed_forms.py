"""Frequency responses of the two averages in closed form."""

import numpy as np
from numpy.typing import ArrayLike

from grokfast_jax._checks import (
    check_hyperparameter,
    check_window_size,
    checked_reals,
    suggest_keywords,
)


@suggest_keywords
def ema_frequency_response(alpha: float, omega: ArrayLike) -> np.ndarray:
    r"""Complex gain of :func:`exponential_moving_average`.

    .. math:: H(\omega) = \frac{1 - \alpha}{1 - \alpha e^{-j\omega}}

    The gain of :func:`grokfast_ema` is 1 + λH(ω).

    Args:
      alpha: decay rate α in [0, 1), a number.
      omega: frequencies in radians per update, any shape; π is the Nyquist frequency.

    Returns:
      Complex gains, shaped like omega, complex128.

    Raises:
      ValueError, TypeError: alpha outside [0, 1) or no number; omega not finite or no
        real numbers.

    Example:
      >>> from grokfast_jax import ema_frequency_response
      >>> gain = 1 + 2.0 * ema_frequency_response(0.98, [0.0, 3.141592653589793])
      >>> print(abs(gain).round(6))
      [3.       1.020202]

    References:
      Lee et al., Grokfast, arXiv 2405.20233, section 3.
    """
    check_hyperparameter("alpha", alpha, below=1.0, schedule=False)
    a = checked_reals("alpha", alpha)  # float64: narrower arithmetic would show
    delay = np.exp(-1j * checked_reals("omega", omega))
    return np.asarray((1 - a) / (1 - a * delay))


@suggest_keywords
def ma_frequency_response(window_size: int, omega: ArrayLike) -> np.ndarray:
    r"""Complex gain of :func:`moving_average`.

    .. math::
      H(\omega) = e^{-j\omega(w-1)/2}\, \frac{\sin(w\omega/2)}{w \sin(\omega/2)}

    The gain of :func:`grokfast_ma` is 1 + λH(ω).

    Args:
      window_size: number of gradients w ≥ 1.
      omega: frequencies in radians per update, any shape; π is the Nyquist frequency.

    Returns:
      Complex gains, shaped like omega, complex128.

    Raises:
      ValueError, TypeError: window_size < 1 or no integer; omega not finite or no
        real numbers.

    Example:
      >>> from grokfast_jax import ma_frequency_response
      >>> gain = 1 + 5.0 * ma_frequency_response(100, [0.0, 0.0545])
      >>> print(abs(gain).round(3))  # it falls below 1 before the first null
      [6.    0.458]

    References:
      Lee et al., Grokfast, arXiv 2405.20233, section 2.
    """
    check_window_size(window_size)
    half = checked_reals("omega", omega) / 2
    half = half - np.pi * np.round(half / np.pi)  # H has the period 2π
    denominator = window_size * np.sin(half)
    at_dc = denominator == 0
    ratio = np.sin(window_size * half) / np.where(at_dc, 1.0, denominator)
    phase = np.exp(-1j * half * (window_size - 1))
    return np.asarray(np.where(at_dc, 1.0, ratio) * phase)
