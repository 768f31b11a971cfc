"""One LSTM layer over some steps, and its gradient.

The cell is that of Hochreiter and Schmidhuber (1997) with a forget gate (Gers et al.,
2000), in PyTorch's order of the gates: from a = W x + U h + b, four of H each,

    i, f, o = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o)
    g = tanh(a_g)    c ← f c + i g    h ← o tanh(c)

Rows are examples. The inputs W x + b of all steps are given at once.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

Product = Callable[[jax.Array, jax.Array], jax.Array]
"""Of two matrices."""


class State(NamedTuple):
    """Output h and cell c, ``[rows, H]``, or of several steps; gradients by them."""

    h: jax.Array
    c: jax.Array


class Steps(NamedTuple):
    """What the gradient of some steps needs, each ``[steps, rows, H]``.

    Attributes:
      i: input gates.
      f: forget gates.
      g: what may enter the cells.
      o: output gates.
      before: cells before each step.
      after: cells after it.
    """

    i: jax.Array
    f: jax.Array
    g: jax.Array
    o: jax.Array
    before: jax.Array
    after: jax.Array

    @property
    def outputs(self) -> jax.Array:
        """H after each step."""
        return self.o * jnp.tanh(self.after)


def advance(
    state: State, inputs_SxRxG: jax.Array, recurrent_HxG: jax.Array, product: Product
) -> tuple[State, tuple[State, jax.Array]]:
    """The state after some steps; the states before each of them, and the outputs."""

    def step(
        state: State, inputs_RxG: jax.Array
    ) -> tuple[State, tuple[State, jax.Array]]:
        now = _steps(inputs_RxG + product(state.h, recurrent_HxG), state.c)
        new = State(now.outputs, now.after)
        return new, (state, new.h)

    return jax.lax.scan(step, state, inputs_SxRxG)


def again(
    before_SxRxH: State,
    inputs_SxRxG: jax.Array,
    recurrent_HxG: jax.Array,
    product: Product,
) -> Steps:
    """The steps from the states before each of them: all at once."""
    recurrent = flat(product, before_SxRxH.h, recurrent_HxG)
    return _steps(inputs_SxRxG + recurrent, before_SxRxH.c)


def advance_backward(
    steps: Steps,
    by_outputs_SxRxH: jax.Array,
    by_state: State,
    recurrent_GxH: jax.Array,
    product: Product,
) -> tuple[State, jax.Array]:
    """Gradients by the state before some steps, and by the inputs of each.

    Args:
      steps: of :func:`again`.
      by_outputs_SxRxH: gradient by the output of each step.
      by_state: gradient by the state after them.
      recurrent_GxH: U, which :func:`advance` has transposed.
      product: of matrices.
    """

    def step(by_state: State, now: tuple[Steps, jax.Array]) -> tuple[State, jax.Array]:
        (i, f, g, o, before, after), by_output = now
        by_h, squashed = by_state.h + by_output, jnp.tanh(after)
        by_c = by_state.c + by_h * o * (1 - squashed**2)
        by_inputs = jnp.concatenate(
            (
                by_c * g * i * (1 - i),
                by_c * before * f * (1 - f),
                by_c * i * (1 - g**2),
                by_h * squashed * o * (1 - o),
            ),
            axis=1,
        )
        return State(product(by_inputs, recurrent_GxH), by_c * f), by_inputs

    return jax.lax.scan(step, by_state, (steps, by_outputs_SxRxH), reverse=True)


def flat(product: Product, a_SxRxI: jax.Array, b_IxO: jax.Array) -> jax.Array:
    """``[S, R, O]``, multiplied as two matrices: with three axes it takes longer."""
    found = product(a_SxRxI.reshape(-1, a_SxRxI.shape[-1]), b_IxO)
    return found.reshape(*a_SxRxI.shape[:-1], -1)


def _steps(preactivations: jax.Array, before: jax.Array) -> Steps:
    i, f, g, o = jnp.split(preactivations, 4, axis=-1)
    i, f, g, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)
    return Steps(i, f, g, o, before, f * before + i * g)
