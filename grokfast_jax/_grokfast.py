"""Grokfast under the names and with the defaults of the paper."""

from typing import Literal

import jax
import jax.numpy as jnp
import optax

from grokfast_jax._amplify import amplify
from grokfast_jax._checks import (
    Hyperparameter,
    check_choice,
    check_flag,
    check_hyperparameter,
    check_traceable_count,
    check_window_size,
    suggest_keywords,
)
from grokfast_jax._lowpass import exponential_moving_average, moving_average


@suggest_keywords
def grokfast_ema(
    alpha: Hyperparameter = 0.98,
    lamb: Hyperparameter = 2.0,
    *,
    init: Literal["first_gradient", "zero"] = "first_gradient",
    start_step: jax.typing.ArrayLike = 0,
    normalize: bool = False,
    accumulator_dtype: jax.typing.DTypeLike | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Grokfast-EMA: amplify the exponential moving average of the gradients.

    .. math::
      m_t = \alpha\, m_{t-1} + (1 - \alpha)\, g_t, \qquad
      \hat g_t = g_t + \lambda\, m_t

    This is ``amplify(exponential_moving_average(alpha, init=init), lamb)``. For an
    N-fold speed-up the authors advise :math:`\alpha^N = 0.1`, λ in [0.1, 5], then a
    larger weight decay.

    Args:
      alpha: decay rate α in [0, 1): a number, a scalar array (traced or not) or a
        schedule. See :func:`exponential_moving_average`.
      lamb: gain λ ≥ 0, likewise. See :func:`amplify`.
      init: ``"first_gradient"`` (as in the published code) or ``"zero"``.
      start_step: number of updates that pass unchanged while the filter fills; to
        freeze it instead, use ``optax.conditionally_transform``. See :func:`amplify`.
      normalize: divide by the gain at DC, 1 + λ, once the filter is on.
      accumulator_dtype: dtype of m; by default at least float32.

    Returns:
      A transformation that keeps the gradients' dtypes and ignores extra arguments.
      State: one copy of the parameters.

    Raises:
      ValueError, TypeError: an argument out of its range or of the wrong type.

    Note:
      α and λ may be changed during training through ``optax.inject_hyperparams``.
      Pass ``hyperparam_dtype=jnp.float32``: it otherwise stores them in the dtype of
      the parameters, and α = 0.999 rounds to 1 in bfloat16::

        optax.inject_hyperparams(
            grokfast_ema,
            static_args=("accumulator_dtype",),
            hyperparam_dtype=jnp.float32,
        )(alpha=0.999, lamb=2.0)

      Values that are traced, or set in the state later, are not checked: α = 5 would
      train with 5. A factory that clamps them works under a plain ``jax.jit``::

        def clamped_ema(alpha, lamb):
            return grokfast_ema(jnp.clip(alpha, 0, 0.9999), jnp.maximum(lamb, 0))

      One that asks for a check makes ``checkify`` report them instead; its functions
      then work under ``checkify`` only, also ``init``::

        def checked_ema(alpha, lamb):
            is_valid = (alpha >= 0) & (alpha < 1) & (lamb >= 0)
            checkify.check(is_valid, "alpha {a}, lamb {l}", a=alpha, l=lamb)
            return grokfast_ema(alpha, lamb)

        tx = optax.inject_hyperparams(checked_ema)(alpha=0.98, lamb=2.0)
        update = jax.jit(checkify.checkify(tx.update))
        error, (updates, state) = update(gradients, state)
        error.throw()  # "alpha 5.0, lamb 2.0"

    Example:
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from grokfast_jax import grokfast_ema
      >>> params = {"w": jnp.ones(3)}
      >>> optimizer = optax.chain(grokfast_ema(alpha=0.98, lamb=2.0), optax.sgd(0.1))
      >>> state = optimizer.init(params)
      >>> updates, state = optimizer.update({"w": jnp.ones(3)}, state, params)
      >>> updates["w"]  # the first step is (1 + lamb) times plain SGD's
      Array([-0.3, -0.3, -0.3], dtype=float32)

    References:
      Lee et al., Grokfast, arXiv 2405.20233, section 3.
    """
    low_pass = exponential_moving_average(
        alpha, init=init, accumulator_dtype=accumulator_dtype
    )
    return amplify(low_pass, lamb, start_step=start_step, normalize=normalize)


@suggest_keywords
def grokfast_ma(
    window_size: int = 100,
    lamb: Hyperparameter = 5.0,
    *,
    filter_type: Literal["mean", "sum"] = "mean",
    warmup: bool = True,
    start_step: jax.typing.ArrayLike = 0,
    normalize: bool = False,
    accumulator_dtype: jax.typing.DTypeLike | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Grokfast-MA: amplify the mean (or sum) of the last w gradients.

    .. math::
      \hat g_t = g_t + \frac{\lambda}{w} \sum_{s=0}^{w-1} g_{t-s}

    Args:
      window_size: number of gradients w ≥ 1, the current one included; a Python
        integer.
      lamb: gain λ ≥ 0: a number, a scalar array (traced or not) or a schedule.
      filter_type: ``"mean"``, or ``"sum"`` for λ times the plain sum of what is in
        the window, that is, a gain of λ·w on the mean of a full window.
      warmup: pass gradients unchanged until the window is full; the update that fills
        it, number w − 1 counted from 0, is already filtered. If False the filter is
        on at once, and ``"mean"`` is the mean of what is in the window.
      start_step: number of updates that pass unchanged while the window fills, with
        and without ``warmup`` alike. (The published code ignores its switch when the
        warm-up is off.) To freeze the filter instead, use
        ``optax.conditionally_transform``.
      normalize: divide by the gain at DC, 1 + λ (for ``"sum"`` 1 + λ·w), once the
        filter is on.
      accumulator_dtype: dtype of the running sums; by default at least float32.

    Returns:
      A transformation that keeps the gradients' dtypes and ignores extra arguments.
      State: w + 1 gradients and two sums (see :func:`moving_average`); time per
      update does not depend on w.

    Raises:
      ValueError, TypeError: an argument out of its range or of the wrong type, or a
        traced window_size.

    Note:
      With ``optax.inject_hyperparams`` the window must stay static::

        optax.inject_hyperparams(
            grokfast_ma,
            static_args=("window_size", "accumulator_dtype"),
            hyperparam_dtype=jnp.float32,
        )(window_size=100, lamb=5.0)

    Example:
      >>> import jax.numpy as jnp
      >>> from grokfast_jax import grokfast_ma
      >>> tx = grokfast_ma(window_size=2, lamb=5.0)
      >>> state = tx.init(jnp.zeros(()))
      >>> for g in (1.0, 3.0, 5.0):
      ...     out, state = tx.update(jnp.float32(g), state)
      ...     print(out)
      1.0
      13.0
      25.0

    References:
      Lee et al., Grokfast, arXiv 2405.20233, section 2.
    """
    check_window_size(window_size)
    check_hyperparameter("lamb", lamb)
    check_choice("filter_type", filter_type, ("mean", "sum"))
    check_flag("warmup", warmup)
    check_traceable_count("start_step", start_step)

    gain = lamb
    if filter_type == "sum":
        gain = _scale(lamb, window_size)
    if warmup:
        start_step = _maximum(start_step, window_size - 1)
    low_pass = moving_average(
        window_size,
        start="zero" if warmup or filter_type == "sum" else "partial",
        accumulator_dtype=accumulator_dtype,
    )
    return amplify(low_pass, gain, start_step=start_step, normalize=normalize)


def _scale(lamb: Hyperparameter, factor: int) -> Hyperparameter:
    if callable(lamb):
        schedule = lamb
        return lambda count: factor * schedule(count)
    return factor * lamb


def _maximum(start_step: jax.typing.ArrayLike, minimum: int) -> jax.typing.ArrayLike:
    if isinstance(start_step, jax.Array):
        return jnp.maximum(start_step.astype(jnp.int32), minimum)
    return max(start_step, minimum)  # type: ignore[type-var]  # it is an integer
