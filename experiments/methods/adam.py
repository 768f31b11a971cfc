"""Adam and AdamW as rows of the table of optimizers."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import optax

from experiments.settings.method import ScheduledOptimizer
from experiments.settings.options import option, options


def decayed() -> Any:
    """The option that tells what decays."""
    return option(
        "all",
        "What decays: all parameters, or matrices, those of two axes or more, alone.",
        choices=("all", "matrices"),
    )


def decay_mask(decayed: str) -> Callable[[Any], Any] | None:
    """Optax's mask of it."""
    return None if decayed == "all" else _are_matrices


def _are_matrices(params: Any) -> Any:
    return jax.tree.map(lambda p: p.ndim > 1, params)


@options
class Adam(ScheduledOptimizer):
    """Adam; weight decay as coupled L2, after the filter (as published)."""

    name: ClassVar[str] = "adam"

    beta1: float = option(
        0.9, "Decay rate of the first moment.", minimum=0.0, below=1.0
    )
    beta2: float = option(
        0.98, "Decay rate of the second moment.", minimum=0.0, below=1.0
    )
    epsilon: float = option(
        1e-8, "Added to the root of the second moment.", minimum=0.0
    )

    decayed: str = decayed()

    def parts(self) -> tuple[optax.GradientTransformation, ...]:
        """L2, then Adam."""
        adam = optax.scale_by_adam(b1=self.beta1, b2=self.beta2, eps=self.epsilon)
        mask = decay_mask(self.decayed)
        return optax.add_decayed_weights(self.weight_decay, mask), adam


@options
class AdamW(Adam):
    """Adam with decoupled weight decay."""

    name: ClassVar[str] = "adamw"

    def parts(self) -> tuple[optax.GradientTransformation, ...]:
        """Adam, then decay."""
        decay, adam = super().parts()
        return adam, decay
