"""The state of a run, its keys, and the arithmetic that it asks for."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import optax

from experiments.settings.config import Config
from experiments.settings.task import Key, ModelState, Params

P = ParamSpec("P")
R = TypeVar("R")


class TrainState(NamedTuple):
    """State of a run between two chunks.

    Attributes:
      step: optimizer updates done, int32. Shared by all lanes of a batched run.
      params: model parameters.
      model_state: what the model changes without gradients, or ``()``.
      opt_state: state of the filters and the optimizer.
    """

    step: jax.Array
    params: Params
    model_state: ModelState
    opt_state: optax.OptState


class StepLog(NamedTuple):
    """What the steps of a chunk told.

    Attributes:
      loss: training loss before each update, ``[length]``.
      projections: of each gradient, ``[length, gradient_projections]``, or None if
        there are none; see :mod:`experiments.methods.projections`.
    """

    loss: jax.Array
    projections: jax.Array | None


class Keys(NamedTuple):
    """Independent random keys of one run, all derived from its seed."""

    init: Key
    split: Key
    order: Key
    step: Key

    @classmethod
    def from_seed(cls, seed: jax.typing.ArrayLike) -> "Keys":
        """Keys for a traced or concrete seed."""
        return cls(*jax.random.split(jax.random.key(seed), len(cls._fields)))


def with_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator: ``matmul_precision`` of the configuration, the first argument."""

    @functools.wraps(function)
    def traced(*args: P.args, **kwargs: P.kwargs) -> R:
        config: Any = args[0]
        with jax.default_matmul_precision(config.training.matmul_precision):
            return function(*args, **kwargs)

    return traced


@contextlib.contextmanager
def numerics_of(config: Config) -> Iterator[None]:
    """JAX's settings that decide a run's numbers: of the record, not of the process.

    Double precision where the configuration asks for it, and random numbers by JAX's
    default generator: by another one a run would go on with another split, validated
    on what it has seen.
    """
    with (
        jax.enable_x64(config.training.dtype == "float64"),
        jax.default_prng_impl("threefry2x32"),
        jax.threefry_partitionable(True),
    ):
        yield


def in_dtype(tree: Params, dtype: str) -> Params:
    """The floating-point leaves in that type."""
    return jax.tree.map(
        lambda a: a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a, tree
    )
