"""Parts that the optimizers share: Adam's direction and the decay, checked."""

import jax
import optax

from grokfast_jax._checks import Hyperparameter, check_hyperparameter, check_mask


def checked_adam(
    b1: jax.typing.ArrayLike, b2: jax.typing.ArrayLike, eps: jax.typing.ArrayLike
) -> optax.GradientTransformation:
    """Adam's direction."""
    check_hyperparameter("b1", b1, below=1.0, schedule=False)
    check_hyperparameter("b2", b2, below=1.0, schedule=False)
    check_hyperparameter("eps", eps, schedule=False)
    return optax.scale_by_adam(b1, b2, eps)


def decay(
    weight_decay: Hyperparameter, mask: optax.MaskOrFn
) -> optax.GradientTransformation:
    """The decay, or nothing for one that is known to be 0."""
    check_hyperparameter("weight_decay", weight_decay)
    check_mask(mask)
    if isinstance(weight_decay, (int, float)) and weight_decay == 0:
        return optax.identity()
    return optax.add_decayed_weights(weight_decay, mask)
