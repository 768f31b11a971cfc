"""Adam + SLS and SaLSa: searched along the gradient, stepped along the momentum."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from grokfast_jax._checks import Hyperparameter, check_choice, suggest_keywords
from grokfast_jax._matching import check_state
from grokfast_jax._trees import map_inexact
from grokfast_jax.linesearch._along import (
    ValueFn,
    checked,
    loss_along,
    scaled,
    search_dtype,
    slope_along,
)
from grokfast_jax.linesearch._cadence import (
    CadenceState,
    after,
    first_cadence,
    is_due,
)
from grokfast_jax.linesearch._parts import checked_adam, decay
from grokfast_jax.linesearch._search import Criterion, LineSearchState, search


class AdamSearchState(NamedTuple):
    """State of :func:`adam_sls` and :func:`salsa`.

    Attributes:
      adam: Adam's moments.
      decay: state of the decay, that of its schedule.
      search: step size, averages and counters, :class:`LineSearchState`.
      cadence: when to search next, :class:`CadenceState`; None for at every update.
    """

    adam: optax.ScaleByAdamState
    decay: optax.OptState
    search: LineSearchState
    cadence: CadenceState | None


@suggest_keywords
def adam_sls(
    *,
    slope_rtol: jax.typing.ArrayLike = 0.2,
    smoothing: jax.typing.ArrayLike = 0.999,
    decrease_factor: jax.typing.ArrayLike = 0.9,
    increase_factor: jax.typing.ArrayLike = 2 ** (1 / 500),
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    initial_step_size: jax.typing.ArrayLike = 0.1,
    max_backtracking_steps: jax.typing.ArrayLike = 200,
    weight_decay: Hyperparameter = 0.0,
    mask: optax.MaskOrFn = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Adam, with a step size searched for along its direction without momentum.

    .. math::
      p_t = \frac{g_t}{\sqrt{\hat v_t} + \varepsilon} + w\, \theta_t, \qquad
      d_t = \frac{\hat m_t}{\sqrt{\hat v_t} + \varepsilon} + w\, \theta_t, \qquad
      \theta_{t+1} = \theta_t - \eta_t d_t

    :math:`\eta_t` is the first of :math:`\gamma\eta_{t-1}\delta^k` that passes the
    criterion along **p**: for w = 0 always a direction of descent. The point
    that is tried and the one that is stepped to differ; :func:`alsals` steps to the one
    it tried. :func:`scale_by_armijo` says what happens where no step is found, and what
    a search costs.

    Args:
      slope_rtol: c, in (0, 1).
      smoothing: β₃, in [0, 1), of the averages of decreases and slopes; 0 is Armijo's
        criterion on each batch alone.
      decrease_factor: δ, in (0, 1).
      increase_factor: γ, ≥ 1. The published one is 2^(1/n), n batches an epoch.
      b1: decay rate of Adam's first moment, in [0, 1).
      b2: decay rate of its second moment, in [0, 1).
      eps: added to the root of the second moment.
      initial_step_size: η₀, > 0.
      max_backtracking_steps: trials after the first, an integer ≥ 0.
      weight_decay: w, ≥ 0, a number or a schedule; part of both directions, not of f.
      mask: a tree of bools, or a function that makes one of the parameters: which of
        them decay.

    Returns:
      An optimizer, whose ``update`` needs ``value``, ``grad`` and ``value_fn``. State:
      :class:`AdamSearchState`.

    Raises:
      ValueError, TypeError: an argument out of its range or of the wrong type; an
        update without the loss, its gradient or its function.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from grokfast_jax.linesearch import adam_sls
      >>> tx = adam_sls(initial_step_size=10.0)
      >>> def loss(x):
      ...     return jnp.sum(jnp.array([0.5, 2.0]) * x**2)
      >>> x = jnp.array([1.0, -2.0])
      >>> state = tx.init(x)
      >>> value, grad = jax.value_and_grad(loss)(x)
      >>> updates, state = tx.update(
      ...     grad, state, x, value=value, grad=grad, value_fn=loss
      ... )
      >>> print(state.search.step_size.round(3), state.search.evaluations)
      2.828 13

    References:
      Vaswani et al., arXiv 1905.09997; Kenneweg et al., arXiv 2403.18519, section 2.
    """
    criterion = Criterion(
        slope_rtol,
        decrease_factor,
        increase_factor,
        smoothing,
        initial_step_size,
        max_backtracking_steps,
    )
    return _searching_adam(
        "adam_sls",
        criterion,
        b1,
        b2,
        eps,
        decay(weight_decay, mask),
    )


@suggest_keywords
def salsa(
    *,
    slope_rtol: jax.typing.ArrayLike = 0.5,
    smoothing: jax.typing.ArrayLike = 0.9,
    decrease_factor: jax.typing.ArrayLike = 0.8,
    increase_factor: jax.typing.ArrayLike = 1.1,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    initial_step_size: jax.typing.ArrayLike = 1.0,
    max_backtracking_steps: jax.typing.ArrayLike = 100,
    weight_decay: Hyperparameter = 0.0,
    mask: optax.MaskOrFn = None,
    search_along: Literal["gradient", "momentum"] = "gradient",
) -> optax.GradientTransformationExtraArgs:
    r"""Adam, with a step size searched for at some of the updates only.

    The directions are those of :func:`adam_sls`, the criterion has the averages of
    :func:`alsals`. A search comes at each of the first ten updates, then L after the
    last one:

    .. math::
      L = \min\left(10, \frac{1}{r - 1}\right), \qquad
      r = \max\left(\frac{E_{.9}(\eta)}{E_{.99}(\eta)},
        \frac{E_{.99}(\eta)}{E_{.9}(\eta)}\right)

    with averages E of the accepted step sizes, both from 1e-8 on. Between searches the
    last step size is taken, and ``value_fn`` is not called: at best a tenth of a
    forward pass a step. Under ``vmap`` each lane has its own cadence.

    c must be below (1 − β₃) / (1 − β₃/γ), .55 with the defaults:
    :func:`scale_by_armijo` says why, what happens where no step is found, and the cost.

    Args:
      slope_rtol: c, in (0, 1).
      smoothing: β₃ of both averages, in [0, 1).
      decrease_factor: δ, in (0, 1).
      increase_factor: γ, ≥ 1, at each search.
      b1: decay rate of Adam's first moment, in [0, 1).
      b2: decay rate of its second moment, in [0, 1).
      eps: added to the root of the second moment.
      initial_step_size: η₀, > 0.
      max_backtracking_steps: trials after the first, an integer ≥ 0.
      weight_decay: w, ≥ 0, a number or a schedule; part of both directions, not of f.
      mask: a tree of bools, or a function that makes one of the parameters: which of
        them decay.
      search_along: "gradient" for p, Adam's direction without momentum; "momentum"
        for d, so that the point that is tried is the one that is stepped to.

    Returns:
      An optimizer, whose ``update`` needs ``value``, ``grad`` and ``value_fn``. State:
      :class:`AdamSearchState`. It differs from the published code, which steps along p
      where it searched and along d elsewhere, takes 1.1 η between searches, and counts
      Adam's bias correction from 2.

    Raises:
      ValueError, TypeError: an argument out of its range or of the wrong type; an
        update without the loss, its gradient or its function.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from grokfast_jax.linesearch import salsa
      >>> tx = salsa()
      >>> def loss(x):
      ...     return jnp.sum(x**2)
      >>> x = jnp.array([1.0, -2.0])
      >>> state = tx.init(x)
      >>> value, grad = jax.value_and_grad(loss)(x)
      >>> updates, state = tx.update(
      ...     grad, state, x, value=value, grad=grad, value_fn=loss
      ... )
      >>> print(state.search.step_size.round(3), state.search.evaluations)
      1.1 1

    References:
      Kenneweg et al., No learning rates needed (SaLSa), arXiv 2407.20650.
    """
    check_choice("search_along", search_along, ("gradient", "momentum"))
    criterion = Criterion(
        slope_rtol,
        decrease_factor,
        increase_factor,
        smoothing,
        initial_step_size,
        max_backtracking_steps,
    )
    return _searching_adam(
        "salsa",
        criterion,
        b1,
        b2,
        eps,
        decay(weight_decay, mask),
        along_gradient=search_along == "gradient",
        at_times=True,
    )


def _searching_adam(
    name: str,
    criterion: Criterion,
    b1: jax.typing.ArrayLike,
    b2: jax.typing.ArrayLike,
    eps: jax.typing.ArrayLike,
    decay: optax.GradientTransformation,
    along_gradient: bool = True,
    at_times: bool = False,
) -> optax.GradientTransformationExtraArgs:
    adam = checked_adam(b1, b2, eps)

    def init_fn(params: optax.Params) -> AdamSearchState:
        dtype = search_dtype(params)
        return AdamSearchState(
            adam=adam.init(params),
            decay=decay.init(params),
            search=criterion.init(dtype),
            cadence=first_cadence(dtype) if at_times else None,
        )

    def update_fn(
        updates: optax.Updates,
        state: AdamSearchState,
        params: optax.Params | None = None,
        *,
        value: jax.typing.ArrayLike | None = None,
        grad: optax.Updates | None = None,
        value_fn: ValueFn | None = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, AdamSearchState]:
        check_state(name, state, AdamSearchState)
        check_state(name, state.search, LineSearchState)
        loss = checked(name, updates, params, value, grad, value_fn)
        _, moments = adam.update(updates, state.adam, params)

        def direction(
            moments: optax.ScaleByAdamState, first: optax.Updates | None
        ) -> tuple[optax.Updates, optax.OptState]:
            if first is None:
                first = optax.tree.bias_correction(moments.mu, b1, moments.count)
            d = _preconditioned(first, moments, b2, eps)
            d, decay_state = decay.update(d, state.decay, params)
            return optax.tree.scale(-1, d), decay_state

        trial, _ = direction(moments, updates if along_gradient else None)
        due = jnp.array(True) if state.cadence is None else is_due(state.cadence)
        step_size, searched = search(
            criterion,
            state.search,
            loss.value,
            slope_along(trial, loss.grad, state.search.step_size.dtype),
            loss_along(loss.value_fn, params, trial, extra_args),
            enabled=due,
        )
        cadence = state.cadence
        if cadence is not None:
            cadence = after(cadence, step_size, due, failed=due & (step_size == 0))
        # After the loop, so that it need not be kept meanwhile.
        step_size, moments = jax.lax.optimization_barrier((step_size, moments))
        step, decay_state = direction(moments, None)
        new_state = AdamSearchState(moments, decay_state, searched, cadence)
        return scaled(step_size, step), new_state

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _preconditioned(
    first_moment: optax.Updates,
    moments: optax.ScaleByAdamState,
    b2: jax.typing.ArrayLike,
    eps: jax.typing.ArrayLike,
) -> optax.Updates:
    """A first moment, or a gradient, ÷ (√v̂ + ε)."""
    second = optax.tree.bias_correction(moments.nu, b2, moments.count)
    return map_inexact(
        lambda m, v: (m / (jnp.sqrt(v) + eps)).astype(m.dtype), first_moment, second
    )
