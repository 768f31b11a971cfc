"""What is measured while a run trains, beside its scores; with a cadence of its own."""

import abc
from typing import ClassVar, NamedTuple

import jax
import numpy as np

from experiments.settings.options import Options, option, options
from experiments.settings.task import Data, Key, ModelState, Params, PyTree, Rows, Task

UNDEFINED = float(np.finfo(np.float32).min)
"""What a measure gives where there is nothing to measure: NaN in records.

Not NaN within the trace: ``JAX_DEBUG_NANS`` would stop at it, and no fault be found.
"""


class Point(NamedTuple):
    """A run at an evaluation, as measures see it.

    Attributes:
      task: the learning problem.
      data: its data.
      splits: rows that are scored, by split.
      params: parameters.
      model_state: the model's own state, as it is evaluated with.
      opt_state: state of filters and optimizer.
      key: for what is random in a measure, the same at every evaluation of a seed.
      step: updates done.
      values: what the task computes of every example, by split: those of
        :meth:`experiments.settings.task.Task.values`, in the order of its rows.
    """

    task: Task
    data: Data
    splits: dict[str, Rows]
    params: Params
    model_state: ModelState
    opt_state: PyTree
    key: Key
    step: jax.Array
    values: dict[str, dict[str, jax.Array]]


@options
class Measure(Options, abc.ABC):
    """A function of a run's state that gives numbers by name, within the trace.

    Attributes:
      name: on the command line and in records.
    """

    name: ClassVar[str]

    every: int = option(
        1, "Measure at every so manieth evaluation; NaN in all other rows.", minimum=1
    )

    @abc.abstractmethod
    def __call__(self, point: Point) -> dict[str, jax.Array]:
        """The measured numbers, scalars: columns of the metrics by their names.

        What has no value is ``UNDEFINED``.
        """
