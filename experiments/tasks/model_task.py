"""Tasks with a Flax model: the only place that knows its split and merge."""

import abc
import functools
from typing import Any

import jax
import jax.numpy as jnp
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
        return nnx.to_pure_dict(params), _without_keys(nnx.to_pure_dict(rest)) or ()

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
        return nnx.merge(self._abstract[0], params)(*args, **kwargs)

    def apply_with_state(
        self,
        params: Params,
        model_state: ModelState,
        *args: Any,
        train: bool,
        **kwargs: Any,
    ) -> tuple[Any, ModelState]:
        """The module's output, and its state after it: unchanged, if not to train."""
        graph, like = self._abstract
        module = nnx.merge(graph, params, _with_keys(model_state or {}, like))
        module.train() if train else module.eval()
        output = module(*args, **kwargs)
        if not train:
            return output, model_state
        _, _, rest = nnx.split(module, nnx.Param, ...)  # type: ignore[misc]
        return output, _without_keys(nnx.to_pure_dict(rest)) or ()

    @functools.cached_property
    def _abstract(self) -> tuple[nnx.GraphDef, ModelState]:
        """The module without its arrays; shapes and types of its state."""
        module = nnx.eval_shape(lambda: self.model(nnx.Rngs(0)))
        graph, _, rest = nnx.split(module, nnx.Param, ...)  # type: ignore[misc]
        return graph, nnx.to_pure_dict(rest)


def _without_keys(state: ModelState) -> ModelState:
    """Random keys as their numbers, which checkpoints can hold."""
    return jax.tree.map(lambda a: jax.random.key_data(a) if _is_key(a) else a, state)


def _with_keys(state: ModelState, like: ModelState) -> ModelState:
    """The numbers as random keys again, where ``like`` has keys."""
    wrap = jax.random.wrap_key_data
    return jax.tree.map(lambda k, a: wrap(a) if _is_key(k) else a, like, state)


def _is_key(a: jax.Array | jax.ShapeDtypeStruct) -> bool:
    return jnp.issubdtype(a.dtype, jax.dtypes.prng_key)
