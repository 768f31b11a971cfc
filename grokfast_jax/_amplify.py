"""The one combinator: the gradient plus λ times its low-passed copy."""

import numbers
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from grokfast_jax._checks import (
    Hyperparameter,
    check_flag,
    check_hyperparameter,
    check_traceable_count,
    check_transformation,
    suggest_keywords,
    value_at,
)
from grokfast_jax._matching import check_match, check_params, check_state
from grokfast_jax._trees import at_least_float32, map_inexact


class AmplifyState(NamedTuple):
    """State of :func:`amplify`.

    Attributes:
      count: updates done so far, int32, saturating at 2³¹−1.
      low_pass: the low-pass filter's own state.
    """

    count: jax.Array  # type: ignore[assignment]  # shadows tuple.count, as in Optax
    low_pass: optax.OptState


@suggest_keywords
def amplify(
    low_pass: optax.GradientTransformation,
    lamb: Hyperparameter,
    *,
    start_step: jax.typing.ArrayLike = 0,
    normalize: bool = False,
) -> optax.GradientTransformationExtraArgs:
    r"""Add λ times the low-passed gradient to the gradient.

    .. math::
      \hat g_t = g_t + \lambda\, (h * g)_t, \qquad
      \hat G(\omega) / G(\omega) = 1 + \lambda H(\omega)

    Slow components are amplified, by 1 + λ at DC for a low-pass of unit gain; fast
    ones pass nearly unchanged. Place it before the optimizer in ``optax.chain``.

    Args:
      low_pass: any gradient transformation whose output is ``h ∗ g``, such as
        :func:`exponential_moving_average`, :func:`moving_average` or ``optax.ema``.
      lamb: gain λ ≥ 0: a number, a scalar array (traced or not) or a schedule of the
        number of updates done.
      start_step: number of updates that pass unchanged before the filter is on. The
        low-pass keeps filling meanwhile (the published two-stage run). To freeze it
        instead, wrap this transformation in ``optax.conditionally_transform``.
      normalize: divide by the gain at DC, 1 + λ, wherever the filter is on: a
        constant gradient then keeps its size. The control for "is it only a larger
        learning rate?".

    Returns:
      A transformation that keeps the gradients' dtypes and passes extra arguments on
      to ``low_pass``. Integer, ``None`` and masked leaves pass through unchanged.

    Raises:
      ValueError: lamb negative, not finite or not a scalar, start_step negative.
      TypeError: an argument of the wrong type.

    Example:
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from grokfast_jax import amplify
      >>> tx = amplify(optax.ema(0.9, debias=True), lamb=2.0, start_step=1)
      >>> state = tx.init(jnp.zeros(()))
      >>> for g in (1.0, 1.0):
      ...     out, state = tx.update(jnp.float32(g), state)
      ...     print(out.round(4))
      1.0
      3.0

    References:
      Lee et al., Grokfast, arXiv 2405.20233, section 2 and equation 1.
    """
    check_transformation("low_pass", low_pass)
    check_hyperparameter("lamb", lamb)
    check_traceable_count("start_step", start_step)
    check_flag("normalize", normalize)
    low_pass = optax.with_extra_args_support(low_pass)
    # A λ known to be 0 must compile to the bare optimizer's program: even g + 0·(h∗g)
    # would be fused differently and change the optimizer's last bits.
    is_off = isinstance(lamb, numbers.Number) and lamb == 0

    def init_fn(params: optax.Params) -> AmplifyState:
        return AmplifyState(
            count=jnp.zeros([], jnp.int32), low_pass=low_pass.init(params)
        )

    def update_fn(
        updates: optax.Updates,
        state: AmplifyState,
        params: optax.Params | None = None,
        **extra_args: object,
    ) -> tuple[optax.Updates, AmplifyState]:
        check_state("amplify (grokfast_ema, grokfast_ma)", state, AmplifyState)
        check_params(updates, params)
        slow, low_pass_state = low_pass.update(
            updates, state.low_pass, params, **extra_args
        )
        check_match(updates, slow, "its slow part", integers_pass=True)
        new_state = AmplifyState(optax.safe_increment(state.count), low_pass_state)
        if is_off:
            return updates, new_state
        gain = value_at(lamb, state.count)
        is_on = state.count >= jnp.asarray(start_step, jnp.int32)

        def add(g: jax.Array, slow_g: jax.Array) -> jax.Array:
            wide = at_least_float32(g.dtype)
            k, fast_g, slow_g = (jnp.asarray(x, wide) for x in (gain, g, slow_g))
            amplified = fast_g + k * slow_g
            if normalize:
                amplified = amplified / jnp.asarray(1 + gain, wide)
            return jnp.where(is_on, amplified.astype(g.dtype), g)

        return map_inexact(add, updates, slow), new_state

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
