"""Muon (Jordan et al., 2024) as a row of the table of optimizers."""

from typing import ClassVar

import optax

from experiments.settings.method import ScheduledOptimizer
from experiments.settings.options import option, options


@options
class Muon(ScheduledOptimizer):
    """Matrices by orthogonalised momentum, all else by AdamW; decoupled decay."""

    name: ClassVar[str] = "muon"

    beta: float = option(0.95, "Momentum of the matrices.", minimum=0.0, below=1.0)
    newton_schulz_steps: int = option(5, "Steps of the orthogonalisation.", minimum=1)

    def parts(self) -> tuple[optax.GradientTransformation, ...]:
        """Optax's Muon with a learning rate of −1, which :meth:`build` scales."""
        muon = optax.contrib.muon(
            -1.0,  # its updates descend: those of a chain before its rate do not
            beta=self.beta,
            ns_steps=self.newton_schulz_steps,
            weight_decay=self.weight_decay,
            adam_weight_decay=self.weight_decay,
        )
        return (muon,)
