"""Tasks with a Flax model: the only place that knows its split and merge."""

import abc
import functools
from typing import Any

import jax
from flax import nnx

from experiments.tasks.base import Task


class ModelTask(Task):
    """A task whose parameters are those of one Flax module without other state."""

    @abc.abstractmethod
    def model(self, rngs: nnx.Rngs) -> nnx.Module:
        """The module with its initial parameters."""

    def init(self, key: jax.Array) -> tuple[Any, Any]:
        """Parameters as a nested dict; there is no model state."""
        return nnx.to_pure_dict(nnx.state(self.model(nnx.Rngs(key)))), ()

    def apply(self, params: Any, *args: Any, **kwargs: Any) -> Any:
        """The module's output with these parameters."""
        return nnx.merge(self._graph, params)(*args, **kwargs)

    @functools.cached_property
    def _graph(self) -> nnx.GraphDef:
        return nnx.split(nnx.eval_shape(lambda: self.model(nnx.Rngs(0))))[0]
