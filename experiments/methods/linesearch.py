"""Line searches as rows of the table of optimizers: none has a learning rate.

Each is of :mod:`grokfast_jax.linesearch`, which has the equations and the sources.
"""

import functools
from typing import Any, ClassVar

import optax

from experiments.methods.adam import decay_mask, decayed
from experiments.settings.method import (
    Optimizer,
    clip_norm,
    clip_position,
    weight_decay,
)
from experiments.settings.options import option, options, traced
from grokfast_jax.linesearch import adam_sls, alsals, salsa, sls

_slope_rtol = functools.partial(
    traced,
    help="Part c of the predicted decrease that a step must give.",
    above=0.0,
    below=1.0,
)
_smoothing = functools.partial(
    traced,
    help="Decay rate β₃ of the averages in the criterion.",
    minimum=0.0,
    below=1.0,
)
_decrease_factor = functools.partial(
    traced, help="Factor δ of a rejected step size.", above=0.0, below=1.0
)
_increase_factor = functools.partial(
    traced,
    help="Factor γ of the last step size, before the first trial.",
    minimum=1.0,
)
_initial_step_size = functools.partial(
    traced, help="Step size before the first search.", above=0.0
)
_max_backtracking_steps = functools.partial(
    option, help="Trials of a search after the first.", minimum=0
)


@options
class LineSearch(Optimizer):
    """What all of them have."""

    weight_decay: float = weight_decay()
    clip_norm: float | None = clip_norm()
    clip_position: str = clip_position()
    slope_rtol: float = _slope_rtol(0.1)
    decrease_factor: float = _decrease_factor(0.9)
    increase_factor: float = _increase_factor(2 ** (1 / 500))
    initial_step_size: float = _initial_step_size(0.1)
    max_backtracking_steps: int = _max_backtracking_steps(100)
    decayed: str = decayed()

    def arguments(self) -> dict[str, Any]:
        """Those of the library's function."""
        names = [field.name for field in self.fields() if field.name not in _OURS]
        values = {_THEIRS.get(name, name): getattr(self, name) for name in names}
        return values | {"mask": decay_mask(self.decayed)}


_OURS = ("clip_norm", "clip_position", "decayed")
_THEIRS = {"beta1": "b1", "beta2": "b2", "epsilon": "eps"}


@options
class Sls(LineSearch):
    """SLS: gradient descent with Armijo's step size; needs no learning rate."""

    name: ClassVar[str] = "sls"

    initial_step_size: float = _initial_step_size(1.0)

    def build(self) -> tuple[optax.GradientTransformation, ...]:
        """See :func:`grokfast_jax.linesearch.sls`."""
        return (sls(**self.arguments()),)


@options
class AdamLineSearch(LineSearch):
    """What those along Adam's direction have."""

    smoothing: float = _smoothing(0.99)
    beta1: float = option(
        0.9, "Decay rate of the first moment.", minimum=0.0, below=1.0
    )
    beta2: float = option(
        0.999, "Decay rate of the second moment.", minimum=0.0, below=1.0
    )
    epsilon: float = option(
        1e-8, "Added to the root of the second moment.", minimum=0.0
    )


def _is_difference(optimizer: "Alsals") -> bool:
    return optimizer.slope == "finite_difference"


@options
class Alsals(AdamLineSearch):
    """ALSALS: a step size searched for along Adam's own direction."""

    name: ClassVar[str] = "alsals"

    slope_rtol: float = _slope_rtol(0.3)
    increase_factor: float = _increase_factor(1 / 0.999)
    slope: str = option(
        "exact",
        "The slope: exact, or a difference of losses as published.",
        choices=("exact", "finite_difference"),
    )
    difference_step: float = option(
        5e-9,
        "Step h of that difference.",
        above=0.0,
        needs=(_is_difference, "with --slope exact"),
    )

    def build(self) -> tuple[optax.GradientTransformation, ...]:
        """See :func:`grokfast_jax.linesearch.alsals`."""
        return (alsals(**self.arguments()),)


@options
class AdamSls(AdamLineSearch):
    """Adam + SLS: searched along Adam's direction without momentum."""

    name: ClassVar[str] = "adam_sls"

    slope_rtol: float = _slope_rtol(0.2)
    smoothing: float = _smoothing(0.999)
    max_backtracking_steps: int = _max_backtracking_steps(200)

    def build(self) -> tuple[optax.GradientTransformation, ...]:
        """See :func:`grokfast_jax.linesearch.adam_sls`."""
        return (adam_sls(**self.arguments()),)


@options
class Salsa(AdamLineSearch):
    """SaLSa: Adam + SLS with averages, that searches at some of the steps only."""

    name: ClassVar[str] = "salsa"

    slope_rtol: float = _slope_rtol(0.5)
    smoothing: float = _smoothing(0.9)
    decrease_factor: float = _decrease_factor(0.8)
    increase_factor: float = _increase_factor(1.1)
    initial_step_size: float = _initial_step_size(1.0)
    search_along: str = option(
        "gradient",
        "Search along Adam's direction without momentum, gradient, or with momentum.",
        choices=("gradient", "momentum"),
    )

    def build(self) -> tuple[optax.GradientTransformation, ...]:
        """See :func:`grokfast_jax.linesearch.salsa`."""
        return (salsa(**self.arguments()),)
