"""All settings of a run, as frozen dataclasses; every field is a command-line option.

Each field is of one kind:

* *static*: sets shapes or code; runs that differ in one are compiled apart;
* *traced*: enters the compiled program as an argument; runs that differ in such fields
  alone share one compilation and may be batched;
* *host*: read by the host loop alone;
* *local*: where things are on this machine; not part of what a run is.
"""

import dataclasses
import math
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np


def option(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] = (),
    kind: str = "static",
) -> Any:
    """A dataclass field with help text, allowed range and kind (see the module).

    The range is ``minimum ≤ value ≤ maximum``, with ``above`` and ``below`` for the
    strict inequalities.
    """
    return dataclasses.field(
        default=default,
        metadata={
            "help": help,
            "minimum": minimum,
            "above": above,
            "maximum": maximum,
            "below": below,
            "choices": choices,
            "kind": kind,
        },
    )


class Options:
    """Base of all groups of options: checks every field against its range."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            _check(field, getattr(self, field.name))


def _check(field: dataclasses.Field, value: Any) -> None:
    if value is None and field.default is None:
        return
    meta = field.metadata
    problem = ""
    if meta["choices"]:
        if value not in meta["choices"]:
            problem = f"must be one of {', '.join(meta['choices'])}"
    elif isinstance(value, float) and not math.isfinite(_in_float32(value)):
        problem = "must be finite (in float32)"
    elif not isinstance(value, (bool, str, Path)):
        used = _in_float32(value) if isinstance(value, float) else value
        for bound, holds, sign in (
            (meta["minimum"], lambda b: used >= b, "≥"),
            (meta["above"], lambda b: used > b, ">"),
            (meta["maximum"], lambda b: used <= b, "≤"),
            (meta["below"], lambda b: used < b, "<"),
        ):
            if bound is not None and not holds(bound):
                problem = f"must be {sign} {bound:g}"
    if problem:
        raise ValueError(f"{field.name} {problem}, got {value!r}.")


def _in_float32(value: float) -> float:
    """The value that the compiled program will see."""
    with np.errstate(over="ignore"):
        return float(np.float32(value))


_LARGEST_COUNTER = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class FilterOptions(Options):
    """Which filter stands before the optimizer."""

    filter: str = option(
        "none",
        "Gradient filter: Grokfast-EMA, Grokfast-MA or none.",
        choices=("none", "ema", "ma"),
    )
    alpha: float = option(
        0.98, "EMA: decay rate per step.", minimum=0.0, below=1.0, kind="traced"
    )
    lamb: float | None = option(
        None,
        "Gain λ of the slow part. [default: 2 for ema, 5 for ma]",
        minimum=0.0,
        kind="traced",
    )
    window_size: int = option(100, "MA: window in steps.", minimum=1, maximum=10**6)
    filter_type: str = option(
        "mean", "MA: mean or plain sum over the window.", choices=("mean", "sum")
    )
    filter_warmup: bool = option(
        True, "MA: filter only once the window is full, or from the first step on."
    )
    filter_init: str = option(
        "first_gradient",
        "EMA: start from the first gradient or from zero.",
        choices=("first_gradient", "zero"),
    )
    start_step: int = option(
        0,
        "Steps before the filter is on; it fills meanwhile.",
        minimum=0,
        maximum=_LARGEST_COUNTER,
        kind="traced",
    )
    normalize: bool = option(False, "Divide by the filter's gain at DC, 1 + λ.")

    @property
    def gain(self) -> float:
        """λ, or the published value for this filter if none was given."""
        if self.lamb is not None:
            return self.lamb
        return 5.0 if self.filter == "ma" else 2.0


@dataclasses.dataclass(frozen=True)
class OptimizerOptions(Options):
    """The optimizer behind the filter."""

    optimizer: str = option(
        "adam",
        "adam: weight decay as coupled L2, after the filter (as published); adamw: "
        "decoupled; sgd: coupled, with momentum.",
        choices=("adam", "adamw", "sgd"),
    )
    learning_rate: float = option(
        1e-3, "Learning rate after the warm-up.", minimum=0.0, kind="traced"
    )
    weight_decay: float = option(
        0.0, "Weight decay; see --optimizer.", minimum=0.0, kind="traced"
    )
    beta1: float = option(
        0.9, "Adam: decay rate of the first moment.", minimum=0.0, below=1.0
    )
    beta2: float = option(
        0.98, "Adam: decay rate of the second moment.", minimum=0.0, below=1.0
    )
    epsilon: float = option(
        1e-8, "Adam: added to the root of the second moment.", minimum=0.0
    )
    momentum: float = option(0.9, "SGD: momentum.", minimum=0.0, below=1.0)
    nesterov: bool = option(False, "SGD: Nesterov's momentum.")
    warmup_steps: int = option(
        10,
        "Learning rate at step s, from 0: min(s, this)/this of its full value.",
        minimum=0,
    )
    clip_norm: float | None = option(
        None, "Clip the gradient to this global norm. [default: off]", above=0.0
    )
    clip_position: str = option(
        "before", "Clip before or after the filter.", choices=("before", "after")
    )


@dataclasses.dataclass(frozen=True)
class TrainingOptions(Options):
    """How long to train, from which start, and when to look."""

    seed: int = option(
        0,
        "Seed of initial weights, split and batches.",
        minimum=0,
        maximum=2**32 - 1,
        kind="traced",
    )
    init_scale: float = option(
        1.0, "Factor on all initial parameters.", above=0.0, kind="traced"
    )
    steps: int = option(
        3000, "Training steps (optimizer updates).", minimum=1, kind="host"
    )
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
    eval_every: int = option(
        20, "Steps between evaluations on the full splits.", minimum=1, kind="host"
    )
    stop_at: float | None = option(
        None,
        "Stop at this validation accuracy. [default: train all steps]",
        above=0.0,
        maximum=1.0,
        kind="host",
    )


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that determines a run's numbers."""

    task: Any
    filter: FilterOptions = FilterOptions()
    optimizer: OptimizerOptions = OptimizerOptions()
    training: TrainingOptions = TrainingOptions()

    def __post_init__(self) -> None:
        """Check what the groups cannot tell alone."""
        if self.training.stop_at is not None and not self.task.has_accuracy:
            raise ValueError(
                f"stop_at is an accuracy, which the task {self.task.name} does not "
                f"have; it must be left out, got {self.training.stop_at!r}."
            )

    @classmethod
    def of(cls, task: Any, **values: Any) -> "Config":
        """Options by their names; what is not named has the task's own default.

        Raises:
          ValueError: a value out of its range.
          TypeError: no such option.
        """
        values = task.defaults | values
        classes = [type(field.default) for field in dataclasses.fields(cls)[1:]]
        groups = [
            group(
                **{
                    field.name: values.pop(field.name)
                    for field in dataclasses.fields(group)
                    if field.name in values
                }
            )
            for group in classes
        ]
        if values:
            raise TypeError(f"no option of that name: {', '.join(values)}")
        return cls(task, *groups)

    def groups(self) -> list[Any]:
        """The groups of options, the task's first."""
        return [getattr(self, field.name) for field in dataclasses.fields(self)]

    def asdict(self) -> dict[str, Any]:
        """Name and value of what makes a run, λ resolved; for ``config.json``."""
        values = {"task": self.task.name}
        for group in self.groups():
            options = {
                field.name: getattr(group, field.name)
                for field in dataclasses.fields(group)
                if field.metadata["kind"] != "local"
            }
            if clash := values.keys() & options.keys():
                raise TypeError(f"options of two groups have one name: {clash}")
            values |= options
        return values | {"lamb": self.filter.gain}

    def traced(self) -> dict[str, Any]:
        """The traced hyper-parameters as arrays: the compiled program's arguments."""
        values = self.asdict()
        return {
            name: jnp.asarray(
                values[name], _TRACED_DTYPES.get(name, self.training.dtype)
            )
            for group in self.groups()
            for name in _traced_names(group)
        }

    def static(self) -> "Config":
        """This configuration with all but the static fields at their defaults.

        Configurations equal in this share one compiled program.
        """
        return Config(
            *(
                dataclasses.replace(
                    group,
                    **{
                        field.name: field.default
                        for field in dataclasses.fields(group)
                        if field.metadata["kind"] != "static"
                    },
                )
                for group in self.groups()
            )
        )


_TRACED_DTYPES = {"seed": jnp.uint32, "start_step": jnp.int32}


def _traced_names(group: Any) -> list[str]:
    return [f.name for f in dataclasses.fields(group) if f.metadata["kind"] == "traced"]
