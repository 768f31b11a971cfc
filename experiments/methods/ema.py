"""Grokfast-EMA as a row of the table of filters."""

from typing import ClassVar

import optax

from experiments.settings.method import Filter
from experiments.settings.options import LARGEST_COUNTER, option, options, traced
from grokfast_jax import grokfast_ema


@options
class Ema(Filter):
    """Grokfast-EMA: an exponential moving average of the gradients, amplified."""

    name: ClassVar[str] = "ema"

    alpha: float = traced(0.98, "Decay rate per step.", minimum=0.0, below=1.0)
    lamb: float = traced(2.0, "Gain λ of the slow part.", minimum=0.0)
    filter_init: str = option(
        "first_gradient",
        "Start from the first gradient or from zero.",
        choices=("first_gradient", "zero"),
    )
    start_step: int = traced(
        0,
        "Steps before the filter is on; it fills meanwhile.",
        minimum=0,
        maximum=LARGEST_COUNTER,
    )
    normalize: bool = option(False, "Divide by the filter's gain at DC, 1 + λ.")

    def build(self) -> optax.GradientTransformation:
        """See :func:`grokfast_jax.grokfast_ema`."""
        return grokfast_ema(
            self.alpha,
            self.lamb,
            init=self.filter_init,  # type: ignore[arg-type]  # one of its choices
            start_step=self.start_step,
            normalize=self.normalize,
        )

    def label(self) -> str:
        """Decay rate and gain."""
        normalized = ", normalized" if self.normalize else ""
        return f"EMA α = {self.alpha:g}, λ = {self.lamb:g}{normalized}"
