"""What is done with the gradient: the interface of filters and optimizers.

A method is one frozen dataclass in one file of :mod:`experiments.methods`, and an entry
in a table there; options, help, sweep axes, legends, records and the contract test
follow from that.
"""

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax

from experiments.settings.options import Options, option, options, traced


class Method(Options, abc.ABC):
    """One row of a table of methods. Its traced options may be tracers.

    Attributes:
      name: on the command line and in records.
    """

    name: ClassVar[str]

    def label(self) -> str:
        """Its settings in words, for legends and tables."""
        return self.name


class Filter(Method):
    """A filter of the gradients, ahead of the optimizer."""

    @abc.abstractmethod
    def build(self) -> optax.GradientTransformation:
        """The transformation; called within the trace."""


def _is_clipping(optimizer: "Optimizer") -> bool:
    return optimizer.clip_norm is not None


def _is_scheduled(optimizer: "ScheduledOptimizer") -> bool:
    return optimizer.schedule != "constant"


class Optimizer(Method):
    """What makes updates of the filtered gradient; all have these three options.

    Each kind declares them itself: sweeps cross options in the order of the fields, and
    are named by it.
    """

    weight_decay: float
    clip_norm: float | None
    clip_position: str

    @abc.abstractmethod
    def build(self) -> tuple[optax.GradientTransformation, ...]:
        """Parts of a chain that makes updates of filtered gradients."""


def weight_decay() -> Any:
    """The option."""
    return traced(0.0, "Weight decay; see --optimizer.", minimum=0.0)


def clip_norm() -> Any:
    """The option."""
    return option(
        None, "Clip the gradient to this global norm. [default: off]", above=0.0
    )


def clip_position() -> Any:
    """The option."""
    return option(
        "before",
        "Clip before or after the filter.",
        choices=("before", "after"),
        needs=(_is_clipping, "without --clip-norm"),
    )


@options
class ScheduledOptimizer(Optimizer):
    r"""One with a learning rate, constant or by a schedule.

    At step k, with W warm-up steps and T schedule steps, it is

    .. math::
      \eta_k = \eta \min(k / W, 1) \cdot
        \bigl(f + (1 - f)\, s(\min(\max(k - W - 1, 0) / T, 1))\bigr)

    with s(t) = 1 (constant), 1 − t (linear) or (1 + cos πt)/2 (cosine), and f the final
    part. A run of fewer than W + T steps is cut off on the way.
    """

    learning_rate: float = traced(1e-3, "Largest learning rate.", minimum=0.0)
    weight_decay: float = weight_decay()
    warmup_steps: int = option(
        10,
        "Learning rate at step s, from 0: min(s, this)/this of its full value.",
        minimum=0,
    )
    schedule: str = option(
        "constant",
        "Learning rate after the warm-up: constant, or falling, linear or cosine.",
        choices=("constant", "linear", "cosine"),
    )
    schedule_steps: int = option(
        10_000,
        "Steps after the warm-up in which the learning rate falls.",
        minimum=1,
        needs=(_is_scheduled, "with --schedule constant"),
    )
    schedule_end: float = option(
        0.0,
        "Learning rate at the end of the schedule, as a part of the largest.",
        minimum=0.0,
        maximum=1.0,
        needs=(_is_scheduled, "with --schedule constant"),
    )
    clip_norm: float | None = clip_norm()
    clip_position: str = clip_position()

    @abc.abstractmethod
    def parts(self) -> tuple[optax.GradientTransformation, ...]:
        """Weight decay and direction, in their order; without the learning rate."""

    def build(self) -> tuple[optax.GradientTransformation, ...]:
        """Those parts, then the learning rate."""
        return *self.parts(), optax.scale_by_learning_rate(self.rate())

    def rate(self) -> Callable[[jax.Array], jax.Array]:
        """The learning rate as a function of the step; see the class."""

        def rate(step: jax.Array) -> jax.Array:
            rate: Any = self.learning_rate
            if self.warmup_steps:
                rate *= jnp.minimum(step, self.warmup_steps) / self.warmup_steps
            if self.schedule == "constant":
                return rate
            passed = jnp.maximum(step - self.warmup_steps - 1, 0)
            t = jnp.minimum(passed / self.schedule_steps, 1.0)
            s = 1 - t if self.schedule == "linear" else (1 + jnp.cos(jnp.pi * t)) / 2
            return rate * (self.schedule_end + (1 - self.schedule_end) * s)

        return rate
