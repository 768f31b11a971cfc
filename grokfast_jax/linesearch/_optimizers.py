"""Whole optimizers that search along their own update: SLS and ALSALS."""

from typing import Literal

import jax
import optax

from grokfast_jax._checks import Hyperparameter, suggest_keywords
from grokfast_jax.linesearch._armijo import scale_by_armijo
from grokfast_jax.linesearch._parts import checked_adam, decay


@suggest_keywords
def sls(
    *,
    slope_rtol: jax.typing.ArrayLike = 0.1,
    decrease_factor: jax.typing.ArrayLike = 0.9,
    increase_factor: jax.typing.ArrayLike = 2 ** (1 / 500),
    initial_step_size: jax.typing.ArrayLike = 1.0,
    max_backtracking_steps: jax.typing.ArrayLike = 100,
    weight_decay: Hyperparameter = 0.0,
    mask: optax.MaskOrFn = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Stochastic gradient descent with Armijo's step size on each batch.

    .. math::
      \theta_{t+1} = \theta_t - \eta_t\, (g_t + w\, \theta_t), \qquad
      f_t(\theta_{t+1}) \le f_t(\theta_t)
        - c\, \eta_t \langle g_t, g_t + w\, \theta_t \rangle

    with the first :math:`\eta_t` of :math:`\gamma\eta_{t-1}\delta^k`, k = 0, 1, …
    The update needs ``value``, ``grad`` and ``value_fn``: :func:`scale_by_armijo`
    says what is searched, what happens where no step is found, and what it costs.

    Args:
      slope_rtol: c, in (0, 1).
      decrease_factor: δ, in (0, 1).
      increase_factor: γ, ≥ 1. The published one is 2^(1/n), n batches an epoch.
      initial_step_size: η₀, > 0.
      max_backtracking_steps: trials after the first, an integer ≥ 0.
      weight_decay: w, ≥ 0, a number or a schedule; part of the direction, not of f.
      mask: a tree of bools, or a function that makes one of the parameters: which of
        them decay.

    Returns:
      An optimizer. State: that of the search, :class:`LineSearchState`.

    Raises:
      ValueError, TypeError: an argument out of its range or of the wrong type; an
        update without the loss, its gradient or its function.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from grokfast_jax.linesearch import sls
      >>> tx = sls()
      >>> def loss(x):
      ...     return 5 * jnp.sum(x**2)
      >>> x = jnp.ones(2)
      >>> state = tx.init(x)
      >>> value, grad = jax.value_and_grad(loss)(x)
      >>> updates, state = tx.update(
      ...     grad, state, x, value=value, grad=grad, value_fn=loss
      ... )
      >>> print(optax.tree.get(state, "step_size").round(4))
      0.167

    References:
      Vaswani et al., Painless Stochastic Gradient, arXiv 1905.09997, algorithm 1.
    """
    return optax.chain(
        decay(weight_decay, mask),
        optax.scale(-1.0),
        scale_by_armijo(
            slope_rtol=slope_rtol,
            decrease_factor=decrease_factor,
            increase_factor=increase_factor,
            smoothing=0.0,
            initial_step_size=initial_step_size,
            max_backtracking_steps=max_backtracking_steps,
        ),
    )


@suggest_keywords
def alsals(
    *,
    slope_rtol: jax.typing.ArrayLike = 0.3,
    smoothing: jax.typing.ArrayLike = 0.99,
    decrease_factor: jax.typing.ArrayLike = 0.9,
    increase_factor: jax.typing.ArrayLike = 1 / 0.999,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    initial_step_size: jax.typing.ArrayLike = 0.1,
    max_backtracking_steps: jax.typing.ArrayLike = 100,
    weight_decay: Hyperparameter = 0.0,
    mask: optax.MaskOrFn = None,
    slope: Literal["exact", "finite_difference"] = "exact",
    difference_step: jax.typing.ArrayLike = 5e-9,
) -> optax.GradientTransformationExtraArgs:
    r"""Adam, with a step size searched for along its own direction, momentum included.

    .. math::
      d_t = \frac{\hat m_t}{\sqrt{\hat v_t} + \varepsilon} + w\, \theta_t, \qquad
      \theta_{t+1} = \theta_t - \eta_t d_t

    :math:`\eta_t` is the first of :math:`\gamma\eta_{t-1}\delta^k` whose decrease of
    the loss, averaged over steps, is at least c times the averaged prediction:
    :func:`scale_by_armijo` has the criterion, what happens where no step is found, and
    what it costs. Momentum can point uphill on this batch: then a rise is predicted,
    and one of 1/c as much allowed.

    Args:
      slope_rtol: c, in (0, 1); .3 to .7 are said to work.
      smoothing: β₃ of both averages, in [0, 1).
      decrease_factor: δ, in (0, 1).
      increase_factor: γ, ≥ 1.
      b1: decay rate of Adam's first moment, in [0, 1).
      b2: decay rate of its second moment, in [0, 1).
      eps: added to the root of the second moment.
      initial_step_size: η₀, > 0.
      max_backtracking_steps: trials after the first, an integer ≥ 0.
      weight_decay: w, ≥ 0, a number or a schedule; part of the direction, not of f.
      mask: a tree of bools, or a function that makes one of the parameters: which of
        them decay.
      slope: "exact", or "finite_difference" as in the published code.
      difference_step: h of the finite difference.

    Returns:
      An optimizer. State: Adam's, and :class:`LineSearchState`.

    Raises:
      ValueError, TypeError: an argument out of its range or of the wrong type; an
        update without the loss, its gradient or its function.

    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from grokfast_jax import grokfast_ema
      >>> from grokfast_jax.linesearch import alsals
      >>> tx = optax.chain(grokfast_ema(), alsals())  # or alsals() alone
      >>> def loss(x, target):
      ...     return jnp.sum((x - target) ** 2)
      >>> x, target = jnp.zeros(2), jnp.array([1.0, -2.0])
      >>> state = tx.init(x)
      >>> for _ in range(100):
      ...     value, grad = jax.value_and_grad(loss)(x, target)
      ...     updates, state = tx.update(  # grad: as it is, unfiltered
      ...         grad, state, x, value=value, grad=grad, value_fn=loss, target=target
      ...     )
      ...     x = optax.apply_updates(x, updates)
      >>> print(loss(x, target).round(1), optax.tree.get(state, "total_evaluations"))
      0.1 100

    References:
      Kenneweg et al., arXiv 2403.18519 (ALSALS).
    """
    return optax.chain(
        checked_adam(b1, b2, eps),
        decay(weight_decay, mask),
        optax.scale(-1.0),
        scale_by_armijo(
            slope_rtol=slope_rtol,
            decrease_factor=decrease_factor,
            increase_factor=increase_factor,
            smoothing=smoothing,
            initial_step_size=initial_step_size,
            max_backtracking_steps=max_backtracking_steps,
            slope=slope,
            difference_step=difference_step,
        ),
    )
