"""What is measured while a run trains, beside its scores; with a cadence of its own."""

import abc
from typing import ClassVar, NamedTuple

import jax

from experiments.settings.options import Options, option, options
from experiments.settings.task import Data, Key, ModelState, Params, PyTree, Rows, Task


class Point(NamedTuple):
    """A run at an evaluation, as measures see it.

    Attributes:
      task: the learning problem.
      data: its data.
      splits: rows of its splits, by name.
      params: parameters.
      model_state: the model's own state.
      opt_state: state of filters and optimizer.
      key: for what is random in a measure, the same for every run of a seed.
    """

    task: Task
    data: Data
    splits: dict[str, Rows]
    params: Params
    model_state: ModelState
    opt_state: PyTree
    key: Key


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
        """The measured numbers, scalars: columns of the metrics by their names."""
