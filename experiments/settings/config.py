"""All settings of a run: what is compiled, and what the host alone reads."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from experiments.settings.measure import Measure
from experiments.settings.method import Filter, Optimizer
from experiments.settings.options import (
    LARGEST_COUNTER,
    Options,
    option,
    options,
    traced,
)
from experiments.settings.target import Target
from experiments.settings.task import Task


@options
class Training(Options):
    """From which start, on which batches and in which arithmetic to train."""

    seed: int = traced(
        0, "Seed of initial weights, split and batches.", minimum=0, maximum=2**32 - 1
    )
    init_scale: float = traced(1.0, "Factor on all initial parameters.", above=0.0)
    batch_size: int = option(512, "Examples per step.", minimum=1)
    dtype: str = option(
        "float32",
        "Type of parameters, optimizer state and arithmetic.",
        choices=("float32", "float64"),
    )
    matmul_precision: str = option(
        "float32",
        "Precision of matrix products on devices that have faster ones.",
        choices=("float32", "tensorfloat32", "bfloat16"),
    )
    gradient_projections: int = option(
        0,
        "Record the gradient of every step, before the filter, along so many random "
        "directions; see the verb spectrum.",
        minimum=0,
        maximum=256,
    )


@options
class Budget(Options):
    """How long to train and when to look: no part of what is compiled."""

    steps: int = option(
        3000,
        "Training steps (optimizer updates).",
        minimum=1,
        maximum=LARGEST_COUNTER,
    )
    eval_every: int = option(
        20, "Steps between evaluations on the full splits.", minimum=1
    )
    stop_at: float | str | None = option(
        None,
        "Stop at this validation accuracy, or at a value of any column of the metrics, "
        "such as 'validation_loss<=0.5'. [default: train all steps]",
    )

    def __post_init__(self) -> None:
        """Check the target, and write it in one way: it is part of a run's name."""
        super().__post_init__()
        if self.target is not None:
            object.__setattr__(self, "stop_at", self.target.text())

    @functools.cached_property
    def target(self) -> Target | None:
        """At which the run may stop."""
        return None if self.stop_at is None else Target.parse(str(self.stop_at))


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["task", "filters", "optimizer", "training", "measures"],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class Config:
    """What is compiled. A pytree, whose leaves are the traced settings.

    Configurations that have one structure (``jax.tree.structure``) share one program.

    Attributes:
      task: the learning problem.
      filters: of the gradient, in their order; none for the bare optimizer.
      optimizer: behind them.
      training: start, batches, arithmetic.
      measures: taken beside the scores.
    """

    task: Task
    filters: tuple[Filter, ...]
    optimizer: Optimizer
    training: Training
    measures: tuple[Measure, ...]

    def traced(self) -> "Config":
        """The same with arrays for leaves: an argument of the compiled programs."""
        dtypes = {"seed": jnp.uint32, "start_step": jnp.int32}

        def array(path: tuple[Any, ...], value: Any) -> jax.Array:
            return jnp.asarray(value, dtypes.get(path[-1].name, self.training.dtype))

        return jax.tree_util.tree_map_with_path(array, self)


@dataclasses.dataclass(frozen=True)
class Settings:
    """All that makes a run's record: what is compiled, how long, and when to look."""

    config: Config
    budget: Budget

    def __post_init__(self) -> None:
        """Check what the groups cannot tell alone."""
        target, task = self.budget.target, self.config.task
        if target and target.column.endswith("accuracy") and not task.has_accuracy:
            raise ValueError(
                f"stop_at is an accuracy, which the task {task.name} does not have; "
                f"it may be COLUMN<=VALUE, got {self.budget.stop_at!r}."
            )
