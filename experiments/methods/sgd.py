"""Stochastic gradient descent as a row of the table of optimizers."""

from typing import ClassVar

import optax

from experiments.settings.method import ScheduledOptimizer
from experiments.settings.options import option, options


@options
class Sgd(ScheduledOptimizer):
    """Gradient descent with momentum; weight decay as coupled L2."""

    name: ClassVar[str] = "sgd"

    momentum: float = option(0.9, "Momentum.", minimum=0.0, below=1.0)
    nesterov: bool = option(False, "Nesterov's momentum.")

    def parts(self) -> tuple[optax.GradientTransformation, ...]:
        """L2, then momentum."""
        momentum = optax.trace(self.momentum, nesterov=self.nesterov)
        return optax.add_decayed_weights(self.weight_decay), momentum
