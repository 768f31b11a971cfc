"""Whole optimizers with Grokfast-EMA inside, their parts in the right order.

Clip → filter → coupled decay → Adam → decoupled decay → learning rate. Clipping comes
before the filter, so that one outlier does not stay in the average (the filtered
gradient may then exceed the clip norm by 1 + λ). Weight decay of either kind comes
after it: it is no part of the signal, and filtered it would act (1 + λ) times as
strongly, with a delay.
"""

import jax
import optax

from grokfast_jax._checks import (
    Hyperparameter,
    check_accumulator_dtype,
    check_flag,
    check_hyperparameter,
    check_mask,
    suggest_keywords,
)
from grokfast_jax._grokfast import grokfast_ema
from grokfast_jax._trees import accumulator_dtype_for


@suggest_keywords
def grokfast_adamw(
    learning_rate: optax.ScalarOrSchedule,
    alpha: Hyperparameter = 0.98,
    lamb: Hyperparameter = 2.0,
    *,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    eps_root: jax.typing.ArrayLike = 0.0,
    mu_dtype: jax.typing.DTypeLike | None = None,
    weight_decay: Hyperparameter = 1e-4,
    mask: optax.MaskOrFn = None,
    nesterov: bool = False,
) -> optax.GradientTransformationExtraArgs:
    r"""AdamW on gradients filtered by Grokfast-EMA; the decay is decoupled.

    .. math::
      \hat g_t = g_t + \lambda\, \mathrm{EMA}_\alpha(g)_t, \qquad
      \theta_t = \theta_{t-1} - \eta_t \left( \mathrm{Adam}(\hat g)_t
        + w\, \theta_{t-1} \right)

    This is ``optax.chain(grokfast_ema(alpha, lamb), optax.adamw(…))``, as the paper
    trains MNIST, IMDb and QM9.

    Order: clip (chain ``optax.clip_by_global_norm`` before it) → filter → decay, for
    the reasons in ``help("grokfast_jax._optimizers")``.

    Args:
      learning_rate: η, a number or a schedule.
      alpha: decay rate of the filter, in [0, 1). For the filter's other options chain
        :func:`grokfast_ema` before the optimizer.
      lamb: gain of the filter, ≥ 0.
      b1: decay rate of Adam's first moment.
      b2: decay rate of Adam's second moment.
      eps: added to the root of the second moment.
      eps_root: added under that root.
      mu_dtype: dtype of the first moment; by default the parameters' own. A wider one
        widens the updates too; ``optax.apply_updates`` casts them back.
      weight_decay: w, ≥ 0, multiplied by the learning rate.
      mask: a tree of bools, or a function that makes one of the parameters: which of
        them decay. The filter and Adam see all of them.
      nesterov: use Nesterov's momentum in Adam.

    Returns:
      An optimizer; its ``update`` needs ``params``. State: three copies of them.

    Raises:
      ValueError, TypeError: an argument out of its range or of the wrong type.

    Example:
      >>> import jax.numpy as jnp
      >>> from grokfast_jax import grokfast_adamw
      >>> optimizer = grokfast_adamw(1e-3, weight_decay=0.1)
      >>> params = jnp.ones(2)
      >>> state = optimizer.init(params)
      >>> updates, state = optimizer.update(jnp.ones(2), state, params)
      >>> print(updates.round(4))
      [-0.0011 -0.0011]

    References:
      Lee et al., Grokfast, arXiv 2405.20233, section 3.
    """
    check_hyperparameter("weight_decay", weight_decay)
    _check_adam(learning_rate, b1, b2, eps, eps_root, mu_dtype, nesterov, mask)
    adamw = optax.adamw(
        learning_rate,
        b1=b1,
        b2=b2,
        eps=eps,
        eps_root=eps_root,
        mu_dtype=mu_dtype,
        weight_decay=weight_decay,
        mask=mask,
        nesterov=nesterov,
    )
    return optax.chain(grokfast_ema(alpha, lamb), adamw)


@suggest_keywords
def grokfast_adam(
    learning_rate: optax.ScalarOrSchedule,
    alpha: Hyperparameter = 0.98,
    lamb: Hyperparameter = 2.0,
    *,
    b1: jax.typing.ArrayLike = 0.9,
    b2: jax.typing.ArrayLike = 0.999,
    eps: jax.typing.ArrayLike = 1e-8,
    eps_root: jax.typing.ArrayLike = 0.0,
    mu_dtype: jax.typing.DTypeLike | None = None,
    l2: Hyperparameter = 0.0,
    mask: optax.MaskOrFn = None,
    nesterov: bool = False,
) -> optax.GradientTransformationExtraArgs:
    r"""Adam on gradients filtered by Grokfast-EMA; the decay is coupled, as published.

    .. math::
      \hat g_t = g_t + \lambda\, \mathrm{EMA}_\alpha(g)_t + w\, \theta_{t-1}, \qquad
      \theta_t = \theta_{t-1} - \eta_t\, \mathrm{Adam}(\hat g)_t

    The L2 term is added after the filter, as the published runs of x·y mod 97 do it
    (with α 0.98, λ 2, w 0.005, b2 0.98).

    Order: clip (chain ``optax.clip_by_global_norm`` before it) → filter → decay, for
    the reasons in ``help("grokfast_jax._optimizers")``.

    Args:
      learning_rate: η, a number or a schedule.
      alpha: decay rate of the filter, in [0, 1). For the filter's other options chain
        :func:`grokfast_ema` before the optimizer.
      lamb: gain of the filter, ≥ 0.
      b1: decay rate of Adam's first moment.
      b2: decay rate of Adam's second moment.
      eps: added to the root of the second moment.
      eps_root: added under that root.
      mu_dtype: dtype of the first moment; by default the parameters' own. A wider one
        widens the updates too; ``optax.apply_updates`` casts them back.
      l2: w, ≥ 0, the factor of the parameters in the gradient.
      mask: a tree of bools, or a function that makes one of the parameters: which of
        them decay. The filter and Adam see all of them.
      nesterov: use Nesterov's momentum in Adam.

    Returns:
      An optimizer; its ``update`` needs ``params``. State: three copies of them.

    Raises:
      ValueError, TypeError: an argument out of its range or of the wrong type.

    Example:
      >>> import jax.numpy as jnp
      >>> from grokfast_jax import grokfast_adam
      >>> optimizer = grokfast_adam(1e-3, b2=0.98, l2=0.005)
      >>> params = jnp.ones(2)
      >>> state = optimizer.init(params)
      >>> updates, state = optimizer.update(jnp.ones(2), state, params)
      >>> print(updates.round(4))
      [-0.001 -0.001]

    References:
      Lee et al., Grokfast, arXiv 2405.20233, section 2, and its public code.
    """
    check_hyperparameter("l2", l2)
    _check_adam(learning_rate, b1, b2, eps, eps_root, mu_dtype, nesterov, mask)
    return optax.chain(
        grokfast_ema(alpha, lamb),
        optax.add_decayed_weights(l2, mask),
        optax.scale_by_adam(
            b1=b1,
            b2=b2,
            eps=eps,
            eps_root=eps_root,
            mu_dtype=mu_dtype,
            nesterov=nesterov,
        ),
        optax.scale_by_learning_rate(learning_rate),
    )


def _check_adam(
    learning_rate: object,
    b1: object,
    b2: object,
    eps: object,
    eps_root: object,
    mu_dtype: jax.typing.DTypeLike | None,
    nesterov: object,
    mask: object,
) -> None:
    """Check what Optax takes without a word, and fails on in the first update."""
    check_hyperparameter("learning_rate", learning_rate)
    check_hyperparameter("b1", b1, below=1.0, schedule=False)
    check_hyperparameter("b2", b2, below=1.0, schedule=False)
    check_hyperparameter("eps", eps, schedule=False)
    check_hyperparameter("eps_root", eps_root, schedule=False)
    check_accumulator_dtype(mu_dtype, "mu_dtype")
    if mu_dtype is not None:
        accumulator_dtype_for(0.0, mu_dtype, "mu_dtype")
    check_flag("nesterov", nesterov)
    check_mask(mask)
