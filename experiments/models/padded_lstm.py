"""Stacked LSTMs over texts that are padded in front; see :mod:`.padding`.

The loops have bounds that depend on the data, which JAX cannot differentiate by itself.
The backward pass has the states before each step. It makes the gates of a block of
steps anew by one product a matrix, and sums the gradients of the weights by one product
a block.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments.models.lstm_layer import (
    Product,
    State,
    Steps,
    advance,
    advance_backward,
    again,
    flat,
)
from experiments.models.padding import of_copies, schedule, with_copies


class Weights(NamedTuple):
    """Weights of L layers of H features, as the recurrence uses them.

    Attributes:
      table: of the first layer, W x + b for every token x, ``[V, 4H]``.
      inputs: Wᵀ of the layers above, ``[H, 4H]`` each.
      biases: b of the layers above, ``[4H]`` each.
      recurrent: Uᵀ of all layers, ``[H, 4H]`` each.
    """

    table: jax.Array
    inputs: tuple[jax.Array, ...]
    biases: tuple[jax.Array, ...]
    recurrent: tuple[jax.Array, ...]


States = tuple[State, ...]  # of the layers


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def last_outputs(
    weights: Weights, tokens: jax.Array, product_dtype: str = "float32"
) -> jax.Array:
    """The top layer's outputs after the last token, ``[B, H]``.

    Args:
      weights: of the layers.
      tokens: ``[B, T]``; leading zeros are padding.
      product_dtype: bfloat16: factors of matrix products are rounded to it, the sums
        are not.
    """
    return _read(weights, tokens, product_dtype, keep=False)[0]


def _forward(weights: Weights, tokens: jax.Array, product_dtype: str) -> Any:
    outputs, before = _read(weights, tokens, product_dtype, keep=True)
    return outputs, (weights, tokens, before)


def _read(
    weights: Weights, tokens: jax.Array, product_dtype: str, *, keep: bool
) -> tuple[jax.Array, States]:
    """The last outputs and, if wanted, states before every step: ``[N, K, 1+B, H]``."""
    plan, product = schedule(tokens), _product(product_dtype)
    size, dtype = weights.recurrent[0].shape[0], weights.table.dtype
    shape = (*plan.tokens.shape, size) if keep else (0,) * 4
    states, before = (
        tuple(
            State(jnp.zeros(s, dtype), jnp.zeros(s, dtype)) for _ in weights.recurrent
        )
        for s in ((1, size), shape)
    )

    def block(
        rows: int, n: jax.Array, carry: tuple[States, States]
    ) -> tuple[States, States]:
        read = plan.tokens[n, :, :rows]
        states, own = _read_block(weights, read, carry[0], product)
        if not keep:
            return states, carry[1]
        corner = n, *[jnp.zeros_like(n)] * 3
        return states, jax.tree.map(
            lambda a, b: jax.lax.dynamic_update_slice(a, b[None], corner), carry[1], own
        )

    for rows, first, end in plan.stages():
        states = jax.tree.map(functools.partial(with_copies, rows=rows), states)
        states, before = jax.lax.fori_loop(
            first, end, functools.partial(block, rows), (states, before)
        )
    last = states[-1].h[1:]
    return jnp.zeros_like(last).at[plan.order].set(last), before


def _read_block(
    weights: Weights, tokens: jax.Array, states: States, product: Product
) -> tuple[States, States]:
    """The states after a block, and before each of its steps."""
    after: list[State] = []
    before: list[State] = []
    inputs = weights.table[tokens]
    for layer, recurrent in enumerate(weights.recurrent):
        state, (seen, outputs) = advance(states[layer], inputs, recurrent, product)
        after.append(state)
        before.append(seen)
        if layer < len(weights.inputs):
            inputs = _inputs(weights, layer, outputs, product)
    return tuple(after), tuple(before)


def _backward(
    product_dtype: str, forward: tuple[Weights, jax.Array, States], by_last: jax.Array
) -> tuple[Weights, None]:
    """The gradient: stages, blocks and steps in the opposite order."""
    weights, tokens, before = forward
    plan, product = schedule(tokens), _product(product_dtype)
    zeros = jnp.zeros((1 + len(by_last), by_last.shape[1]), by_last.dtype)
    by_top = State(zeros.at[1:].set(by_last[plan.order]), zeros)
    by_states = *(State(zeros, zeros) for _ in weights.inputs), by_top
    total = jax.tree.map(jnp.zeros_like, weights)
    # Transposed once: products in the loops are faster for it.
    turned = weights._replace(
        inputs=tuple(w.T for w in weights.inputs),
        recurrent=tuple(u.T for u in weights.recurrent),
    )

    def block(
        rows: int, last: jax.Array, i: jax.Array, carry: tuple[States, Weights]
    ) -> tuple[States, Weights]:
        n = last - i
        read = plan.tokens[n, :, :rows]
        own = jax.tree.map(lambda a: a[n, :, :rows], before)
        return _block_backward(weights, turned, read, own, *carry, product)

    for rows, first, end in reversed(plan.stages()):
        by_states = jax.tree.map(functools.partial(of_copies, rows=rows), by_states)
        by_states, total = jax.lax.fori_loop(
            first,
            end,
            functools.partial(block, rows, first + end - 1),
            (by_states, total),
        )
    return total, None


last_outputs.defvjp(_forward, _backward)


def _block_backward(
    weights: Weights,
    turned: Weights,
    tokens: jax.Array,
    before: States,
    by_states: States,
    total: Weights,
    product: Product,
) -> tuple[States, Weights]:
    """Gradients by the states before a block, and by the weights from there on.

    Args:
      weights: of the layers.
      turned: their transposes.
      tokens: of the block, ``[K, rows]``.
      before: states before each of its steps.
      by_states: gradient by the states after it.
      total: gradient by the weights in all that comes after it.
      product: of matrices.
    """
    inputs, layers = weights.table[tokens], list[Steps]()
    for layer, recurrent in enumerate(weights.recurrent):
        layers.append(again(before[layer], inputs, recurrent, product))
        if layer < len(weights.inputs):
            inputs = _inputs(weights, layer, layers[-1].outputs, product)
    new_states, by_outputs = list(by_states), jnp.zeros_like(layers[-1].after)
    by_weights, by_biases, by_recurrent = (list(part) for part in total[1:])
    for layer in reversed(range(len(layers))):
        new_states[layer], by_inputs = advance_backward(
            layers[layer],
            by_outputs,
            by_states[layer],
            turned.recurrent[layer],
            product,
        )
        by_recurrent[layer] += _summed(product, before[layer].h, by_inputs)
        if layer:
            below = layers[layer - 1].outputs
            by_weights[layer - 1] += _summed(product, below, by_inputs)
            by_biases[layer - 1] += by_inputs.sum((0, 1))
            by_outputs = flat(product, by_inputs, turned.inputs[layer - 1])
    by_table = total.table.at[tokens].add(by_inputs)
    parts = map(tuple, (by_weights, by_biases, by_recurrent))
    return tuple(new_states), Weights(by_table, *parts)


def _inputs(
    weights: Weights, layer: int, outputs: jax.Array, product: Product
) -> jax.Array:
    """Inputs of the layer above from the outputs of a layer, of a block."""
    found = flat(product, outputs, weights.inputs[layer])
    return found + weights.biases[layer][None, None]


def _summed(product: Product, a_KxRxI: jax.Array, b_KxRxO: jax.Array) -> jax.Array:
    """Σ a bᵀ over steps and rows, ``[I, O]``."""
    a, b = (x.reshape(-1, x.shape[-1]) for x in (a_KxRxI, b_KxRxO))
    return product(a.T, b)


def _product(dtype: str) -> Product:
    def product(a: jax.Array, b: jax.Array) -> jax.Array:
        if dtype == "float32":  # as they are, in a run in double precision too
            return a @ b
        return jnp.matmul(
            a.astype(dtype), b.astype(dtype), preferred_element_type=a.dtype
        )

    return product
