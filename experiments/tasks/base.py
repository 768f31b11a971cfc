"""The interface between a task and the training engine.

A task is a frozen dataclass of static options. It knows its data, its model and its
loss; the engine knows batches, steps and optimizers. Parameters and model state are
plain pytrees of arrays: the model library stays behind this interface.
"""

import abc
from typing import Any, ClassVar

import jax

from experiments.settings.config import Options


class Task(Options, abc.ABC):
    """One learning problem: data × model × loss × metrics.

    Examples are pytrees of arrays that share their leading axis. All methods but
    :meth:`load` are traced; the engine may batch them over seeds with ``vmap``.

    Attributes:
      name: on the command line.
      defaults: the task's own defaults of options of the filter, the optimizer and the
        training, by name.
      has_accuracy: whether ``accuracy`` is among the metrics.
      published_accuracy: final validation accuracy of the published baseline, for the
        milestone relative to it.
      milestone: what runs are compared by; the lower the better.
    """

    name: ClassVar[str]
    defaults: ClassVar[dict[str, Any]] = {}
    has_accuracy: ClassVar[bool] = True
    published_accuracy: ClassVar[float | None] = None
    milestone: ClassVar[str] = "t_gen_99"

    @abc.abstractmethod
    def load(self) -> Any:
        """The data set as host arrays; the engine puts it on the device once."""

    @abc.abstractmethod
    def split(self, data: Any, key: jax.Array) -> tuple[Any, Any]:
        """Training and validation examples, possibly drawn with ``key``."""

    @abc.abstractmethod
    def init(self, key: jax.Array) -> tuple[Any, Any]:
        """Initial ``(params, model_state)``.

        ``model_state`` is what changes without gradients, such as the running
        statistics of BatchNorm; ``()`` if there is none.
        """

    @abc.abstractmethod
    def loss(
        self,
        params: Any,
        model_state: Any,
        examples: Any,
        key: jax.Array,
    ) -> tuple[jax.Array, Any]:
        """Mean training loss and the new model state.

        The last batch of an epoch may be smaller than the others. ``key`` serves what
        is random within a step, such as dropout.
        """

    @abc.abstractmethod
    def metrics(
        self, params: Any, model_state: Any, examples: Any
    ) -> dict[str, jax.Array]:
        """Metrics of every example, each ``[n]``; at least ``loss``.

        The engine reports their means over the full splits.
        """

    def order(self, data: Any, key: jax.Array, epoch: jax.Array, size: int):
        """Order of the ``size`` training examples in an epoch: a permutation."""
        del data
        return jax.random.permutation(jax.random.fold_in(key, epoch), size)

    def value_and_grad(
        self,
        params: Any,
        model_state: Any,
        examples: Any,
        key: jax.Array,
    ) -> tuple[tuple[jax.Array, Any], Any]:
        """``((loss, model_state), gradient)`` of one step.

        A task whose step is more than one gradient of :meth:`loss` (a full batch cut
        into blocks, a penalty on the gradient) overrides this.
        """
        return jax.value_and_grad(self.loss, has_aux=True)(
            params, model_state, examples, key
        )
