"""What training minimises: a loss, and its gradient from the same function."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from experiments.settings.task import Examples, Key, ModelState, Params, Task

Value = Callable[[Params, ModelState, Examples, Key], tuple[jax.Array, ModelState]]
ValueAndGrad = Callable[
    [Params, ModelState, Examples, Key],
    tuple[tuple[jax.Array, ModelState], Params],
]


class Loss(NamedTuple):
    """A loss of one step's examples, and its gradient.

    Whatever wraps one (blocks, a penalty on the gradient) makes both from one function,
    so that an optimizer that searches compares like with like.

    Attributes:
      value: params, model state, examples, key → loss and new model state.
      value_and_grad: the same with the gradient by the parameters.
    """

    value: Value
    value_and_grad: ValueAndGrad

    @classmethod
    def of(cls, value: Value) -> "Loss":
        """By automatic differentiation."""
        return cls(value, jax.value_and_grad(value, has_aux=True))


def mean_loss(task: Task) -> Loss:
    """The mean of the task's losses over the examples."""

    def value(
        params: Params, model_state: ModelState, examples: Examples, key: Key
    ) -> tuple[jax.Array, ModelState]:
        outputs, model_state = task.forward(
            params, model_state, examples, key, train=True
        )
        return jnp.mean(task.losses(outputs, examples)), model_state

    return Loss.of(value)
