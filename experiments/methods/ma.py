"""Grokfast-MA as a row of the table of filters."""

from typing import ClassVar

import optax

from experiments.settings.method import Filter
from experiments.settings.options import LARGEST_COUNTER, option, options, traced
from grokfast_jax import grokfast_ma


@options
class Ma(Filter):
    """Grokfast-MA: the mean of a window of gradients, amplified."""

    name: ClassVar[str] = "ma"

    window_size: int = option(100, "Window in steps.", minimum=1, maximum=10**6)
    lamb: float = traced(5.0, "Gain λ of the slow part.", minimum=0.0)
    filter_type: str = option(
        "mean", "Mean or plain sum over the window.", choices=("mean", "sum")
    )
    filter_warmup: bool = option(
        True, "Filter only once the window is full, or from the first step on."
    )
    start_step: int = traced(
        0,
        "Steps before the filter is on; it fills meanwhile.",
        minimum=0,
        maximum=LARGEST_COUNTER,
    )
    normalize: bool = option(False, "Divide by the filter's gain at DC, 1 + λ.")

    def build(self) -> optax.GradientTransformation:
        """See :func:`grokfast_jax.grokfast_ma`."""
        return grokfast_ma(
            self.window_size,
            self.lamb,
            filter_type=self.filter_type,  # type: ignore[arg-type]  # one of its choices
            warmup=self.filter_warmup,
            start_step=self.start_step,
            normalize=self.normalize,
        )

    def label(self) -> str:
        """Window, kind and gain."""
        kind = " (sum)" if self.filter_type == "sum" else ""
        normalized = ", normalized" if self.normalize else ""
        return f"MA w = {self.window_size}{kind}, λ = {self.lamb:g}{normalized}"
