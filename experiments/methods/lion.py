"""Lion (Chen et al., arXiv 2302.06675) as a row of the table of optimizers."""

from typing import ClassVar

import optax

from experiments.settings.method import ScheduledOptimizer
from experiments.settings.options import option, options


@options
class Lion(ScheduledOptimizer):
    """Lion: the sign of an interpolated momentum; decoupled weight decay."""

    name: ClassVar[str] = "lion"

    beta1: float = option(0.9, "Momentum in the interpolation.", minimum=0.0, below=1.0)
    beta2: float = option(0.99, "Decay rate of the momentum.", minimum=0.0, below=1.0)

    def parts(self) -> tuple[optax.GradientTransformation, ...]:
        """Optax's Lion, then decay."""
        lion = optax.scale_by_lion(b1=self.beta1, b2=self.beta2)
        return lion, optax.add_decayed_weights(self.weight_decay)
