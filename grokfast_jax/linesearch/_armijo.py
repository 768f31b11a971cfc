"""Armijo's backtracking search along any direction, with averages in the criterion."""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import optax

from grokfast_jax._checks import check_choice, suggest_keywords
from grokfast_jax._matching import check_state
from grokfast_jax.linesearch._along import (
    ValueFn,
    checked,
    loss_along,
    scaled,
    search_dtype,
    slope_along,
)
from grokfast_jax.linesearch._search import (
    Criterion,
    LineSearchState,
    check_positive,
    search,
)

_ENLARGEMENTS = 10
"""Times that h becomes ten times larger: then 5e-9 is 50, and the loss is flat."""


_Probe: TypeAlias = tuple[jax.Array, jax.Array, jax.Array]
"""Difference quotient, the next h, and the forward passes so far."""


@suggest_keywords
def scale_by_armijo(
    *,
    slope_rtol: jax.typing.ArrayLike = 0.3,
    decrease_factor: jax.typing.ArrayLike = 0.9,
    increase_factor: jax.typing.ArrayLike = 1 / 0.999,
    smoothing: jax.typing.ArrayLike = 0.99,
    initial_step_size: jax.typing.ArrayLike = 0.1,
    max_backtracking_steps: jax.typing.ArrayLike = 100,
    slope: Literal["exact", "finite_difference"] = "exact",
    difference_step: jax.typing.ArrayLike = 5e-9,
) -> optax.GradientTransformationExtraArgs:
    r"""Scale updates by a step size that is searched for at every step.

    With the update :math:`u_t = -d_t` of what stands before it in the chain, and the
    loss :math:`f_t` of this step's batch,

    .. math::
      s_t = \langle \nabla f_t(\theta_t), d_t \rangle, \qquad
      \bar s_t = \beta_3 \bar s_{t-1} + (1 - \beta_3)\, s_t

    .. math::
      \bar\Delta(\eta) = \beta_3 \bar\Delta_{t-1} + (1 - \beta_3)
        \left( f_t(\theta_t) - f_t(\theta_t - \eta d_t) \right)

    it takes the first of :math:`\eta = \gamma\eta_{t-1} \delta^k`, k = 0, 1, …, with
    :math:`\bar\Delta(\eta) \ge c' \eta\, \bar s_t`, where c' is c, or 1/c if
    :math:`\bar s_t` is not positive. Then :math:`\bar\Delta_t = \bar\Delta(\eta)`,
    :math:`\eta_t = \eta`. With β₃ = 0 and a direction of descent this is Armijo's
    criterion, and no step raises the loss. As long as η grows, the average of
    decreases stays behind: on a straight loss :math:`\bar\Delta / (\eta \bar s)` tends
    to (1 − β₃) / (1 − β₃/γ), .91 with the defaults, and c must be less.

    A trial whose loss is not finite is rejected. If all are rejected, there is no
    step, a failure is counted, and the next update searches again: from the smallest
    step size if that one raised the loss, otherwise from the last one accepted. A
    gradient that is not finite would stay in the moments of an Adam before the search:
    guard the whole chain by :func:`grokfast_jax.skip_non_finite`.

    It costs one forward pass a step, one more a backtrack (about every hundredth step
    with the defaults), and temporary memory for a copy of the parameters. Under
    ``vmap`` each lane finds its own step size, in the time of the lane that takes
    longest. Inside of ``optax.partition`` the trials move the search's own parameters:
    ``value_fn`` gets a tree in which the others are masked, and must fill them in.

    ``optax.scale_by_backtracking_linesearch`` is Armijo's criterion on one batch alone,
    grows η by 1.5 a step to 1 at most, and can hand on the gradient at the accepted
    point: prefer it for losses without noise. It stays at a step size of 0 for ever
    once all trials are not finite.

    Args:
      slope_rtol: c, in (0, 1): the part of the predicted decrease that is asked for.
      decrease_factor: δ, in (0, 1), of a rejected step size.
      increase_factor: γ, ≥ 1, of the last step size, before the first trial.
      smoothing: β₃, in [0, 1), of both averages.
      initial_step_size: η₀, > 0.
      max_backtracking_steps: trials after the first, an integer ≥ 0.
      slope: "exact" for the inner product above; "finite_difference" for
        (f(θ) − f(θ − h d)) / h as in the published code, one forward pass more.
      difference_step: h, > 0, of the finite difference; ten times larger, up to ten
        times, as long as the difference is 0. The published 5e-9 is below what float32
        resolves: many parameters do not move, and the slope comes in steps of the
        loss's rounding ÷ h. 1e-5 is right to about 1 %.

    Returns:
      A transformation for the end of a chain of descent, as after ``optax.sgd(1.0)`` or
      ``optax.scale(-1.0)``. Its ``update(grad, state, params, *, value, grad, value_fn,
      **extra)`` needs the loss at ``params``, its gradient, unfiltered, and the loss as
      a function of the parameters alone: with the batch, the random key and the mode
      (BatchNorm as in training) that ``value`` was computed with. ``value_fn`` gets the
      extra arguments that it takes by name; what it returns beside the loss is not
      used. State: :class:`LineSearchState`; ``optax.tree.get(state, "step_size")``.

    Raises:
      ValueError, TypeError: an argument out of its range or of the wrong type; an
        update without the loss, its gradient or its function.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from grokfast_jax.linesearch import scale_by_armijo
      >>> tx = optax.chain(optax.sgd(1.0), scale_by_armijo(initial_step_size=1.0))
      >>> def loss(x):
      ...     return 5 * jnp.sum(x**2)
      >>> x = jnp.ones(2)
      >>> state = tx.init(x)
      >>> for _ in range(3):
      ...     value, grad = jax.value_and_grad(loss)(x)
      ...     updates, state = tx.update(
      ...         grad, state, x, value=value, grad=grad, value_fn=loss
      ...     )
      ...     x = optax.apply_updates(x, updates)
      ...     print(value, optax.tree.get(state, "evaluations"))
      10.0 20
      1.2404696 1
      0.1550616 1

    References:
      Armijo, 1966; Vaswani et al., arXiv 1905.09997 (SLS); Kenneweg et al., arXiv
      2403.18519 (ALSALS), whose averages these are.
    """
    criterion = Criterion(
        slope_rtol,
        decrease_factor,
        increase_factor,
        smoothing,
        initial_step_size,
        max_backtracking_steps,
    )
    check_choice("slope", slope, ("exact", "finite_difference"))
    check_positive("difference_step", difference_step)

    def init_fn(params: optax.Params) -> LineSearchState:
        return criterion.init(search_dtype(params))

    def update_fn(
        updates: optax.Updates,
        state: LineSearchState,
        params: optax.Params | None = None,
        *,
        value: jax.typing.ArrayLike | None = None,
        grad: optax.Updates | None = None,
        value_fn: ValueFn | None = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, LineSearchState]:
        check_state("scale_by_armijo", state, LineSearchState)
        loss = checked("scale_by_armijo", updates, params, value, grad, value_fn)
        dtype = state.step_size.dtype
        value_at = loss_along(loss.value_fn, params, updates, extra_args)
        if slope == "exact":
            falls, passes = slope_along(updates, loss.grad, dtype), jnp.int32(0)
        else:
            falls, passes = _difference(value_at, loss.value, difference_step, dtype)
        step_size, state = search(criterion, state, loss.value, falls, value_at)
        state = state._replace(
            evaluations=state.evaluations + passes,
            total_evaluations=state.total_evaluations + passes,
        )
        return scaled(step_size, updates), state

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _difference(
    value_at: Callable[[jax.Array], jax.Array],
    value: jax.typing.ArrayLike,
    difference_step: jax.typing.ArrayLike,
    dtype: jnp.dtype,
) -> tuple[jax.Array, jax.Array]:
    """The slope as a difference quotient, and the forward passes that it took."""

    def probe(last: _Probe) -> _Probe:
        _, h, passes = last
        difference = jnp.asarray(value, dtype) - jnp.asarray(value_at(h), dtype)
        return difference / h, 10 * h, passes + 1

    def is_flat(last: _Probe) -> jax.Array:
        quotient, _, passes = last
        return (quotient == 0) & (passes <= _ENLARGEMENTS)

    first = jnp.asarray(difference_step, dtype)
    start = jnp.zeros([], dtype), first, jnp.zeros([], jnp.int32)
    quotient, _, passes = jax.lax.while_loop(is_flat, probe, start)
    return quotient, passes
