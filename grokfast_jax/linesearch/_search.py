"""One search for a step size along a given direction, with averages in its criterion.

The search knows no parameters: it is handed the loss as a function of the step size.
So its loop carries a few scalars, whatever the size of the model.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from grokfast_jax._checks import check_hyperparameter, check_traceable_count


class LineSearchState(NamedTuple):
    r"""State of a line search; each field is a scalar.

    Floats are of the widest dtype of the parameters, but float32 at least.

    Attributes:
      step_size: η, the last one that was accepted; the next search starts above it.
      slope: s̄, average of the slopes :math:`\langle g, d\rangle`; positive where the
        loss falls along the update.
      decrease: Δ̄, average of the accepted decreases of the loss.
      value: loss at the last point that was accepted.
      evaluations: forward passes of the last update: 1 + backtracks, 0 where it did not
        search.
      total_evaluations: forward passes of all updates.
      failures: searches that found no step.
    """

    step_size: jax.Array
    slope: jax.Array
    decrease: jax.Array
    value: jax.Array
    evaluations: jax.Array
    total_evaluations: jax.Array
    failures: jax.Array


@dataclasses.dataclass(frozen=True)
class Criterion:
    """When a step is accepted, and which are tried; checked when it is made.

    Attributes:
      slope_rtol: c, the part of the predicted decrease that a step must give.
      decrease_factor: δ, of a rejected step size.
      increase_factor: γ, of the last accepted one, before the first trial.
      smoothing: β₃ of both averages; 0 is Armijo's own criterion.
      initial_step_size: η₀.
      max_backtracking_steps: trials after the first one.
    """

    slope_rtol: jax.typing.ArrayLike
    decrease_factor: jax.typing.ArrayLike
    increase_factor: jax.typing.ArrayLike
    smoothing: jax.typing.ArrayLike
    initial_step_size: jax.typing.ArrayLike
    max_backtracking_steps: jax.typing.ArrayLike

    def __post_init__(self) -> None:
        check_positive("slope_rtol", self.slope_rtol, below=1.0)
        check_positive("decrease_factor", self.decrease_factor, below=1.0)
        check_hyperparameter(
            "increase_factor", self.increase_factor, minimum=1.0, schedule=False
        )
        check_hyperparameter("smoothing", self.smoothing, below=1.0, schedule=False)
        check_positive("initial_step_size", self.initial_step_size)
        check_traceable_count("max_backtracking_steps", self.max_backtracking_steps)

    def init(self, dtype: jnp.dtype) -> LineSearchState:
        """The state before the first search."""
        zero, none = jnp.zeros([], dtype), jnp.zeros([], jnp.int32)
        return LineSearchState(
            step_size=jnp.asarray(self.initial_step_size, dtype),
            slope=zero,
            decrease=zero,
            value=jnp.full([], jnp.inf, dtype),
            evaluations=none,
            total_evaluations=none,
            failures=none,
        )


def check_positive(name: str, value: object, below: float = math.inf) -> None:
    """Check that a number is in (0, below); traced ones pass."""
    check_hyperparameter(name, value, below=below, schedule=False)
    if not isinstance(value, jax.core.Tracer) and value == 0:
        raise ValueError(f"{name} must be > 0, got {value!r}.")


class _Trial(NamedTuple):
    step_size: jax.Array
    decrease: jax.Array
    value: jax.Array
    evaluations: jax.Array
    accepted: jax.Array


def search(
    criterion: Criterion,
    state: LineSearchState,
    value: jax.typing.ArrayLike,
    slope: jax.Array,
    value_along: Callable[[jax.Array], jax.Array],
    enabled: jax.typing.ArrayLike = True,
) -> tuple[jax.Array, LineSearchState]:
    r"""Find a step size; returns the one to take, 0 if there is none, and the state.

    .. math::
      \bar s_t = \beta_3 \bar s_{t-1} + (1 - \beta_3)\, s_t, \qquad
      \bar\Delta = \beta_3 \bar\Delta_{t-1}
        + (1 - \beta_3) \left( f(0) - f(\eta) \right)

    Accepted is the first of :math:`\eta = \gamma\eta_{t-1} \delta^k`, k = 0, 1, …, with
    :math:`\bar\Delta \ge c' \eta\, \bar s_t`; c' is c, or 1/c where :math:`\bar s_t` is
    not positive: a rise is then predicted, and a rise of 1/c as much allowed. What the
    loss's dtype cannot resolve is no rise.

    A trial whose loss is not finite is rejected and enters no average. If all trials
    are rejected there is no step, a failure is counted, and the averages start anew:
    a negative one of decreases could forbid every step for long. The next search
    starts from the smallest step size where even that one's loss rose, otherwise from
    the last one accepted. If f(0) or s is not finite nothing is tried or changed.

    Args:
      criterion: c, δ, γ, β₃ and the number of trials.
      state: of the last update.
      value: f(0).
      slope: s, −df/dη at η = 0.
      value_along: f of the step size.
      enabled: whether to search at all: if not, the last step size is taken.
    """
    dtype = state.step_size.dtype
    c, shrink, grow, smoothing = (
        jnp.asarray(x, dtype)
        for x in (
            criterion.slope_rtol,
            criterion.decrease_factor,
            criterion.increase_factor,
            criterion.smoothing,
        )
    )
    value, slope = jnp.asarray(value, dtype), jnp.asarray(slope, dtype)
    mean_slope = smoothing * state.slope + (1 - smoothing) * slope
    required = jnp.where(mean_slope > 0, c, 1 / c) * mean_slope
    resolution = (1 - smoothing) * jnp.finfo(dtype).eps * jnp.abs(value)

    def try_next(last: _Trial) -> _Trial:
        step_size = jnp.where(last.evaluations > 0, shrink, grow) * last.step_size
        new_value = jnp.asarray(value_along(step_size), dtype)
        decrease = smoothing * state.decrease + (1 - smoothing) * (value - new_value)
        enough = decrease + resolution >= step_size * required
        accepted = enough & jnp.isfinite(new_value)
        return _Trial(step_size, decrease, new_value, last.evaluations + 1, accepted)

    def goes_on(last: _Trial) -> jax.Array:
        most = criterion.max_backtracking_steps
        return possible & ~last.accepted & (last.evaluations <= most)

    enabled = jnp.asarray(enabled)
    possible = enabled & jnp.isfinite(value) & jnp.isfinite(slope)
    none = jnp.zeros([], jnp.int32)
    start = _Trial(state.step_size, state.decrease, state.value, none, ~enabled)
    end = jax.lax.while_loop(goes_on, try_next, start)

    found, failed = possible & end.accepted, possible & ~end.accepted
    smallest = jnp.maximum(end.step_size, jnp.finfo(dtype).tiny)
    goes_down = found | (failed & ~(end.value <= value))
    new_state = LineSearchState(
        step_size=jnp.where(goes_down, smallest, state.step_size),
        slope=_averaged(found, mean_slope, failed, state.slope),
        decrease=_averaged(found, end.decrease, failed, state.decrease),
        value=jnp.where(found, end.value, state.value),
        evaluations=end.evaluations,
        total_evaluations=_add(state.total_evaluations, end.evaluations),
        failures=_add(state.failures, (~end.accepted).astype(jnp.int32)),
    )
    return jnp.where(end.accepted, new_state.step_size, 0), new_state


def _averaged(
    found: jax.Array, new: jax.Array, failed: jax.Array, old: jax.Array
) -> jax.Array:
    return jnp.where(found, new, jnp.where(failed, 0, old))


def _add(count: jax.Array, more: jax.Array) -> jax.Array:
    """Their sum, or the largest int32."""
    return count + jnp.minimum(more, jnp.iinfo(jnp.int32).max - count)
