"""Adam and AdamW as rows of the table of optimizers."""

from typing import ClassVar

import optax

from experiments.settings.method import Optimizer
from experiments.settings.options import option, options


@options
class Adam(Optimizer):
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

    def parts(self) -> tuple[optax.GradientTransformation, ...]:
        """L2, then Adam."""
        adam = optax.scale_by_adam(b1=self.beta1, b2=self.beta2, eps=self.epsilon)
        return optax.add_decayed_weights(self.weight_decay), adam


@options
class AdamW(Adam):
    """Adam with decoupled weight decay."""

    name: ClassVar[str] = "adamw"

    def parts(self) -> tuple[optax.GradientTransformation, ...]:
        """Adam, then decay."""
        decay, adam = super().parts()
        return adam, decay
