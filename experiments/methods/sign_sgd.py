"""signSGD (Bernstein et al., arXiv 1802.04434) as a row of the table of optimizers."""

from typing import ClassVar

import optax

from experiments.settings.method import ScheduledOptimizer
from experiments.settings.options import options


@options
class SignSgd(ScheduledOptimizer):
    """The sign of the gradient; decoupled weight decay."""

    name: ClassVar[str] = "sign_sgd"

    def parts(self) -> tuple[optax.GradientTransformation, ...]:
        """Optax's sign, then decay."""
        return optax.scale_by_sign(), optax.add_decayed_weights(self.weight_decay)
