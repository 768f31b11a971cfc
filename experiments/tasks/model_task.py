"""Tasks with a Flax model: the only place that knows its split and merge."""

import abc
import functools
from typing import Any

import jax
from flax import nnx

from experiments.settings.task import (
    Data,
    Examples,
    Key,
    ModelState,
    Outputs,
    Params,
    Task,
)


class ModelTask(Task):
    """A task whose parameters are the ``nnx.Param`` of one Flax module.

    All else that the module changes is its model state: the running statistics of
    BatchNorm, the state of its random streams.
    """

    @abc.abstractmethod
    def model(self, rngs: nnx.Rngs) -> nnx.Module:
        """The module with its initial parameters."""

    def init(self, key: Key, data: Data) -> tuple[Params, ModelState]:
        """Parameters and model state as nested dicts; ``()`` for no state."""
        del data
        model: Any = self.model(nnx.Rngs(key))
        _, params, rest = nnx.split(model, nnx.Param, ...)  # type: ignore[misc]
        return nnx.to_pure_dict(params), nnx.to_pure_dict(rest) or ()

    def predict(self, params: Params, examples: Examples) -> jax.Array:
        """The prediction of a model that has no state and does the same in training.

        A task with another model overrides :meth:`forward` instead.
        """
        raise TypeError(f"{self.name} has neither predict nor forward.")

    def forward(
        self,
        params: Params,
        model_state: ModelState,
        examples: Examples,
        key: Key | None,
        *,
        train: bool,
    ) -> tuple[Outputs, ModelState]:
        """:meth:`predict`; there is no other state."""
        del key, train
        return Outputs(self.predict(params, examples)), model_state

    def apply(self, params: Params, *args: Any, **kwargs: Any) -> Any:
        """The output of a module that has no state and does the same in training."""
        return nnx.merge(self._graph, params)(*args, **kwargs)

    def apply_with_state(
        self,
        params: Params,
        model_state: ModelState,
        *args: Any,
        train: bool,
        **kwargs: Any,
    ) -> tuple[Any, ModelState]:
        """The module's output, and its state after it: unchanged, if not to train."""
        module = nnx.merge(self._graph, params, model_state or {})
        module.train() if train else module.eval()
        output = module(*args, **kwargs)
        if not train:
            return output, model_state
        _, _, rest = nnx.split(module, nnx.Param, ...)  # type: ignore[misc]
        return output, nnx.to_pure_dict(rest) or ()

    @functools.cached_property
    def _graph(self) -> nnx.GraphDef:
        return nnx.split(nnx.eval_shape(lambda: self.model(nnx.Rngs(0))))[0]
