"""The interface between a task and everything that trains, records or shows it.

A task is a frozen dataclass of options. It knows its data, its model and its loss; the
engine knows batches, steps and optimizers. Parameters and model state are plain pytrees
of arrays: the model library stays behind this interface.

Data are the arrays of a whole data set, shared by all lanes of a sweep. A *split* is
the rows of its examples, so that drawing one copies nothing; *examples* are what
:meth:`Task.take` makes of some rows: pytrees of arrays that share their leading axis.
"""

import abc
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, TypeAlias, TypeVar

import jax
import jax.numpy as jnp

from experiments.settings.files import Files
from experiments.settings.milestone import OF_ACCURACY, Milestone, TaskFacts
from experiments.settings.options import Options

PyTree: TypeAlias = Any  # of arrays
Params: TypeAlias = PyTree  # what gradients train
ModelState: TypeAlias = PyTree  # what the model changes itself: statistics, RNG state
Data: TypeAlias = PyTree  # what Task.load returns
Examples: TypeAlias = PyTree  # with a common leading axis
Rows: TypeAlias = jax.Array  # of examples in the data, [n] int32
Key: TypeAlias = jax.Array
T = TypeVar("T")


class Outputs(NamedTuple):
    """What one forward pass gives; losses, values and measures share it.

    Attributes:
      prediction: what the losses compare with the examples, ``[n, …]``.
      preactivations: inputs of the nonlinearities, by layer, of models that tell them.
    """

    prediction: jax.Array
    preactivations: Mapping[str, jax.Array] = {}


class Task(Options, abc.ABC):
    """One learning problem: data × model × loss × scores.

    All methods but :meth:`load` are traced; the engine may batch them over lanes.

    Attributes:
      name: on the command line.
      defaults: the task's own defaults of options of others, by name; of one method
        alone as ``method.option``.
      reads_files: whether :meth:`load` reads files.
      has_accuracy: whether ``accuracy`` is among the scores.
      published_accuracy: final validation accuracy of the published baseline.
      milestones: what its runs are asked for.
      milestone: what runs are compared by; the lower the better.
      evaluation_batch: examples that are evaluated at once, at most.
    """

    name: ClassVar[str]
    defaults: ClassVar[dict[str, Any]] = {}
    reads_files: ClassVar[bool] = False
    has_accuracy: ClassVar[bool] = True
    published_accuracy: ClassVar[float | None] = None
    milestones: ClassVar[tuple[Milestone, ...]] = OF_ACCURACY
    milestone: ClassVar[str] = "t_gen_99"
    evaluation_batch: ClassVar[int] = 1024

    @abc.abstractmethod
    def load(self, files: Files = Files()) -> Data:
        """The data set as host arrays; the host puts it on the device once."""

    @abc.abstractmethod
    def splits(self, data: Data, key: Key) -> dict[str, Rows]:
        """Rows of ``train``, ``validation`` and any others, possibly drawn by key."""

    def with_split(self, data: Data, splits: dict[str, Rows]) -> Data:
        """The data as a split makes them: as they are; or a vocabulary, a mean removed.

        Of what is learnt from the rows to train on alone. Rows and measures are of
        these data from here on; :meth:`splits` and :meth:`init` see those loaded.
        """
        del splits
        return data

    def scored(self, splits: dict[str, Rows]) -> dict[str, Rows]:
        """The rows that evaluations are of, by split: all; of many a part will do."""
        return splits

    def take(self, data: Data, rows: Rows) -> Examples:
        """The examples of some rows: by default those of every array."""
        return jax.tree.map(lambda a: a[rows], data)

    def on_examples(
        self, function: Callable[[Examples], T], data: Data, rows: Rows
    ) -> T:
        """Apply a function to the examples of some rows: a gradient, or values.

        What it returns does not depend on their shapes: a task whose examples differ
        in size may choose among shapes here, around all of a step's work.
        """
        return function(self.take(data, rows))

    @abc.abstractmethod
    def init(self, key: Key, data: Data) -> tuple[Params, ModelState]:
        """The start: drawn by key, or given weights that are part of the data.

        The model state is ``()`` if there is none.
        """

    @abc.abstractmethod
    def forward(
        self,
        params: Params,
        model_state: ModelState,
        examples: Examples,
        key: Key | None,
        *,
        train: bool,
    ) -> tuple[Outputs, ModelState]:
        """Outputs and the new model state; ``key`` is for dropout, None if not train.

        The last batch of an epoch may be smaller than the others.
        """

    def evaluation_state(
        self,
        params: Params,
        model_state: ModelState,
        data: Data,
        splits: dict[str, Rows],
    ) -> ModelState:
        """The model state to evaluate with: that of training, or made anew.

        Exact statistics of BatchNorm over the rows to train on, for instance.
        """
        del params, data, splits
        return model_state

    @abc.abstractmethod
    def losses(self, outputs: Outputs, examples: Examples) -> jax.Array:
        """Loss of every example, ``[n]``; training minimises their mean."""

    def values(self, outputs: Outputs, examples: Examples) -> dict[str, jax.Array]:
        """What :meth:`score` needs of every example, each ``[n]``: at least losses."""
        return {"loss": self.losses(outputs, examples)}

    def score(self, values: dict[str, jax.Array], dtype: Any) -> dict[str, jax.Array]:
        """Scores of a whole split from the values of all its examples.

        By default their means. What is no mean of examples (F1, bits per character)
        overrides this.
        """
        return {name: jnp.mean(v, dtype=dtype) for name, v in values.items()}

    def order(self, data: Data, key: Key, epoch: jax.Array, size: int) -> jax.Array:
        """Order of the ``size`` training examples in an epoch: a permutation."""
        del data
        return jax.random.permutation(jax.random.fold_in(key, epoch), size)

    @classmethod
    def facts(cls) -> TaskFacts:
        """What a reader of a record must know of the task, without having the task."""
        return TaskFacts(cls.published_accuracy, cls.milestone, cls.milestones)
