"""Causal multi-head self-attention with one packed q-k-v projection."""

import math

import jax
import jax.numpy as jnp
from flax import nnx

from experiments.models.columns import Columns
from experiments.models.layers import Linear, kernel_xavier


class CausalAttention(nnx.Module):
    """Each position attends to itself and to those before it.

    Written out position by position, for the few positions of an equation: products of
    4 × 4 scores are too small for a library's matrix product, and the masked half of
    them is never computed.

    Args:
      width: number of features, split evenly among the heads.
      heads: number of heads.
      use_bias: biases in both projections, zero at first.
      rngs: source of the initial weights.
    """

    def __init__(
        self, width: int, heads: int, *, use_bias: bool = True, rngs: nnx.Rngs
    ):
        self.heads = heads
        zeros = nnx.initializers.zeros
        self.qkv = Linear(
            width,
            3 * width,
            use_bias=use_bias,
            kernel_init=kernel_xavier,
            bias_init=zeros,
            rngs=rngs,
        )
        self.out = Linear(width, width, use_bias=use_bias, bias_init=zeros, rngs=rngs)

    def __call__(
        self, x_FxN: jax.Array, columns: Columns, *, last_only: bool = False
    ) -> jax.Array:
        """Outputs of all positions, or with ``last_only`` of the last one alone.

        Keys and values are computed for all positions, queries for those asked for.
        """
        width = len(x_FxN)
        if last_only:
            queries = [self.qkv(columns.split(x_FxN)[-1], slice(width))]
            kv = self.qkv(x_FxN, slice(width, None))
        else:
            q, kv = jnp.split(self.qkv(x_FxN), [width])
            queries = columns.split(q)
        of_columns = columns.split(kv)
        of_examples = columns.of_examples(of_columns)
        mixed = []
        for position, query in enumerate(queries, len(of_columns) - len(queries)):
            is_prefix = position < columns.prefix_length
            past = of_columns if is_prefix else of_examples
            mixed.append(self._attend(query, past[: position + 1]))
        return self.out(jnp.concatenate(mixed, axis=1))

    def _attend(self, query_FxB: jax.Array, past: list[jax.Array]) -> jax.Array:
        """Softmax of q · k / √D over the past positions, and the values' mean by it.

        Each position's keys and values are ``[2F, B]``.
        """
        width, batch = query_FxB.shape
        query_HxDxB = query_FxB.reshape(self.heads, -1, batch)
        scale = 1 / math.sqrt(query_HxDxB.shape[1])
        keys_and_values = [kv.reshape(2, *query_HxDxB.shape) for kv in past]
        scores = [
            jnp.sum(query_HxDxB * key, axis=1, keepdims=True) * scale
            for key, _ in keys_and_values
        ]
        weights = jax.nn.softmax(jnp.stack(scores), axis=0)
        mixed = sum(w * v for w, (_, v) in zip(weights, keys_and_values, strict=True))
        return mixed.reshape(width, batch)
