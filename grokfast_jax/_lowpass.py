"""Low-pass filters of the gradient signal: the slow part, without the gradient itself.

Each is an ordinary Optax transformation whose output is ``h ∗ g``, the gradients seen
so far convolved with the filter's impulse response ``h`` of unit gain. Give one to
:func:`grokfast_jax.amplify` to obtain ``g + λ·(h ∗ g)``.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from grokfast_jax._checks import (
    Hyperparameter,
    check_accumulator_dtype,
    check_choice,
    check_flag,
    check_hyperparameter,
    check_window_size,
    suggest_keywords,
    value_at,
)
from grokfast_jax._matching import check_match, check_state, check_window
from grokfast_jax._trees import (
    at_least_float32,
    init_inexact,
    map_inexact,
    zero_accumulators,
)


class ExponentialMovingAverageState(NamedTuple):
    """State of :func:`exponential_moving_average`.

    Attributes:
      count: updates done so far, int32, saturating at 2³¹−1.
      weight: sum of the impulse response so far, ``1 − Π α``, 0 at first: the default
        float dtype.
      ema: the average m, shaped like the parameters.
    """

    count: jax.Array  # type: ignore[assignment]  # shadows tuple.count, as in Optax
    weight: jax.Array
    ema: optax.Updates


@suggest_keywords
def exponential_moving_average(
    alpha: Hyperparameter,
    *,
    init: Literal["first_gradient", "zero"] = "first_gradient",
    debias: bool = False,
    accumulator_dtype: jax.typing.DTypeLike | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Exponential moving average of the gradients, a first-order IIR low-pass.

    .. math::
      m_t = \alpha\, m_{t-1} + (1 - \alpha)\, g_t, \qquad
      h(t) = (1 - \alpha)\,\alpha^t, \qquad
      H(\omega) = \frac{1 - \alpha}{1 - \alpha e^{-j\omega}}

    Its time constant is ``−1 / ln α`` updates (49.5 for α = 0.98).

    Args:
      alpha: decay rate α in [0, 1): a number, a scalar array (traced or not) or a
        schedule of the number of updates done. What is traced or scheduled cannot be
        checked here; :func:`grokfast_ema` shows how to.
      init: ``"first_gradient"`` starts from :math:`m_0 = g_0`, as in the published
        code; ``"zero"`` from :math:`m_{-1} = 0`, which makes the filter linear and
        time-invariant.
      debias: divide by the sum of the weights so far, :math:`1 - \prod_{s \le t}
        \alpha_s`, so that a constant gradient passes with gain 1 from the first
        update on. Needs ``init="zero"``.
      accumulator_dtype: dtype of m. By default the parameters' own, but float32 for
        16-bit ones: in bfloat16 ``(1 − α) g`` would vanish beside m.

    Returns:
      A transformation that maps g to m in the dtype of g and ignores extra arguments.
      State: one copy of the parameters. Integer, ``None`` and masked leaves pass
      through unchanged and have no state.

    Raises:
      ValueError: alpha outside [0, 1) or not a scalar, unknown init, debias with
        ``init="first_gradient"``.
      TypeError: alpha or accumulator_dtype of the wrong type.

    Example:
      >>> import jax.numpy as jnp
      >>> from grokfast_jax import exponential_moving_average
      >>> low_pass = exponential_moving_average(0.9, init="zero")
      >>> state = low_pass.init(jnp.zeros(2))
      >>> for g in (1.0, 0.0, 0.0):  # the impulse response 0.1 · 0.9ᵗ
      ...     out, state = low_pass.update(jnp.full(2, g), state)
      >>> out
      Array([0.081, 0.081], dtype=float32)

    References:
      Lee et al., Grokfast, arXiv 2405.20233, section 3.
    """
    check_hyperparameter("alpha", alpha, below=1.0)
    check_choice("init", init, ("first_gradient", "zero"))
    check_flag("debias", debias)
    check_accumulator_dtype(accumulator_dtype)
    if debias and init == "first_gradient":
        raise ValueError(
            'debias=True needs init="zero": an average that starts from the first '
            "gradient has no bias to remove."
        )

    def init_fn(params: optax.Params) -> ExponentialMovingAverageState:
        return ExponentialMovingAverageState(
            count=jnp.zeros([], jnp.int32),
            weight=jnp.zeros([], jnp.result_type(float)),
            ema=zero_accumulators(params, accumulator_dtype),
        )

    def update_fn(
        updates: optax.Updates,
        state: ExponentialMovingAverageState,
        params: optax.Params | None = None,
        **extra_args: object,
    ) -> tuple[optax.Updates, ExponentialMovingAverageState]:
        del params, extra_args
        check_state("exponential_moving_average", state, ExponentialMovingAverageState)
        check_match(updates, state.ema)
        gain = 1 - value_at(alpha, state.count)
        if init == "first_gradient":  # the first gradient enters with weight one
            gain = jnp.where(state.count == 0, 1.0, gain)

        def average(m: jax.Array, g: jax.Array) -> jax.Array:
            # α·m + (1−α)·g, from 1−α alone: a rounded α near 1 would shift the time
            # constant, and with both rounded also the gain at DC. Exact for α = 0.
            wide = at_least_float32(m.dtype)
            k, m_wide, g_wide = (jnp.asarray(x, wide) for x in (gain, m, g))
            return (m_wide - k * m_wide + k * g_wide).astype(m.dtype)

        k = jnp.asarray(gain, state.weight.dtype)
        weight = state.weight - k * state.weight + k
        ema = map_inexact(average, state.ema, updates)

        def output(g: jax.Array, m: jax.Array) -> jax.Array:
            wide = at_least_float32(m.dtype)
            return (
                jnp.asarray(m, wide) / jnp.asarray(weight, wide) if debias else m
            ).astype(g.dtype)

        new_state = ExponentialMovingAverageState(
            optax.safe_increment(state.count), weight, ema
        )
        return map_inexact(output, updates, ema), new_state

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


class MovingAverageState(NamedTuple):
    """State of :func:`moving_average` with a window of w gradients.

    Attributes:
      filled: number of gradients in the window, min(updates done, w), int32.
      slot: position in the ring of the next write, modulo w + 1, int32.
      phase: updates done modulo w, int32.
      ring: the last w + 1 gradients, shape ``(w + 1,) + p.shape``, the dtype of p.
      total: sum over the window.
      partial: sum since ``phase`` was last 0; replaces ``total`` every w updates.
    """

    filled: jax.Array
    slot: jax.Array
    phase: jax.Array
    ring: optax.Updates
    total: optax.Updates
    partial: optax.Updates


@suggest_keywords
def moving_average(
    window_size: int,
    *,
    start: Literal["zero", "partial"] = "zero",
    accumulator_dtype: jax.typing.DTypeLike | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Windowed moving average of the last w gradients, a boxcar FIR low-pass.

    .. math::
      m_t = \frac{1}{w} \sum_{s=0}^{w-1} g_{t-s}, \qquad
      H(\omega) = e^{-j\omega(w-1)/2}\, \frac{\sin(w\omega/2)}{w \sin(\omega/2)}

    Its delay is (w − 1)/2 updates; it is zero at ω = 2πk/w.

    Time and temporary memory per update do not depend on w. The running sum does not
    drift: every w updates it is replaced by one accumulated afresh, so its rounding
    error is that of at most 2w gradients, and a non-finite gradient is forgotten
    after at most 2w − 1 further updates.

    Args:
      window_size: number of gradients w ≥ 1, a Python integer (it sets the state's
        shape; see the note for ``optax.inject_hyperparams``).
      start: while fewer than w gradients have been seen, ``"zero"`` counts the
        missing ones as zero (linear and time-invariant), ``"partial"`` takes the mean
        of those seen.
      accumulator_dtype: dtype of the two sums. By default the parameters' own, but
        float32 for 16-bit ones. The ring keeps the parameters' dtype.

    Returns:
      A transformation that maps g to m in the dtype of g and ignores extra arguments.
      State: w + 1 gradients and two sums. Integer, ``None`` and masked leaves pass
      through unchanged and have no state.

    Raises:
      ValueError: window_size < 1, unknown start; from ``update``, a state of another
        window, or gradients of other shapes than the parameters.
      TypeError: window_size or accumulator_dtype of the wrong type, or a traced
        window_size; from ``update``, a state of another filter.

    Note:
      A state serves one window. To change the window in the middle of training, give
      the gradients that are kept, oldest first, to the new filter (a longer window
      is then not full at once)::

        def with_other_window(new, state, params):
            slots = jax.tree.leaves(state.ring)[0].shape[0]
            order = (state.slot - state.filled + jnp.arange(state.filled)) % slots
            kept = jax.tree.map(lambda ring: ring[order], state.ring)
            return jax.lax.scan(
                lambda s, g: (new.update(g, s)[1], None), new.init(params), kept
            )[0]

      ``optax.inject_hyperparams`` turns numbers into arrays; keep the window static::

        optax.inject_hyperparams(
            grokfast_ma,
            static_args=("window_size", "accumulator_dtype"),
            hyperparam_dtype=jnp.float32,
        )(window_size=100, lamb=5.0)

    Example:
      >>> import jax.numpy as jnp
      >>> from grokfast_jax import moving_average
      >>> low_pass = moving_average(2)
      >>> state = low_pass.init(jnp.zeros(()))
      >>> for g in (4.0, 2.0, 8.0):
      ...     out, state = low_pass.update(jnp.float32(g), state)
      ...     print(out)
      2.0
      3.0
      5.0

    References:
      Lee et al., Grokfast, arXiv 2405.20233, section 2.
    """
    check_window_size(window_size)
    check_choice("start", start, ("zero", "partial"))
    check_accumulator_dtype(accumulator_dtype)
    w = int(window_size)

    def init_fn(params: optax.Params) -> MovingAverageState:
        def ring(p: jax.typing.ArrayLike) -> jax.Array:
            # Broadcast from zeros_like(p), which keeps the sharding of p.
            zero = jnp.zeros_like(p, dtype=jnp.result_type(p))
            return jnp.broadcast_to(zero, (w + 1, *zero.shape))

        return MovingAverageState(
            filled=jnp.zeros([], jnp.int32),
            slot=jnp.zeros([], jnp.int32),
            phase=jnp.zeros([], jnp.int32),
            ring=init_inexact(ring, params),
            total=zero_accumulators(params, accumulator_dtype),
            partial=zero_accumulators(params, accumulator_dtype),
        )

    def update_fn(
        updates: optax.Updates,
        state: MovingAverageState,
        params: optax.Params | None = None,
        **extra_args: object,
    ) -> tuple[optax.Updates, MovingAverageState]:
        del params, extra_args
        check_state("moving_average", state, MovingAverageState)
        check_window(w, state.ring)
        check_match(updates, state.total)
        # The ring has w + 1 slots so that the slot read (the oldest, which leaves the
        # window) is never the slot written: reading a slot before overwriting it makes
        # XLA copy the whole ring. Both sums are chosen by `where`, not `cond`: under
        # vmap a cond over the ring becomes a select over the ring.
        oldest = (state.slot + 1) % (w + 1)
        filled = jnp.minimum(state.filled + 1, w)
        divisor = filled if start == "partial" else w

        def write(ring: jax.Array, g: jax.Array) -> jax.Array:
            g = g.astype(ring.dtype)
            return jax.lax.dynamic_update_index_in_dim(ring, g, state.slot, 0)

        def accumulate(partial: jax.Array, g: jax.Array, ring: jax.Array) -> jax.Array:
            g = g.astype(ring.dtype).astype(partial.dtype)
            return jnp.where(state.phase == 0, g, partial + g)

        def slide(
            total: jax.Array, g: jax.Array, ring: jax.Array, partial: jax.Array
        ) -> jax.Array:
            g = g.astype(ring.dtype).astype(total.dtype)
            leaving = jax.lax.dynamic_index_in_dim(ring, oldest, 0, keepdims=False)
            slid = total + (g - leaving.astype(total.dtype))
            return jnp.where(state.phase == w - 1, partial, slid)

        def output(g: jax.Array, total: jax.Array) -> jax.Array:
            wide = total.astype(at_least_float32(total.dtype))
            return (wide / jnp.asarray(divisor, wide.dtype)).astype(g.dtype)

        ring = map_inexact(write, state.ring, updates)
        partial = map_inexact(accumulate, state.partial, updates, ring)
        total = map_inexact(slide, state.total, updates, ring, partial)
        new_state = MovingAverageState(
            filled=filled,
            slot=oldest,
            phase=(state.phase + 1) % w,
            ring=ring,
            total=total,
            partial=partial,
        )
        return map_inexact(output, updates, total), new_state

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)
