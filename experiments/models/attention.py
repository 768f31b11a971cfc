"""Causal multi-head self-attention with one packed q-k-v projection."""

import math

import jax
import jax.numpy as jnp
from flax import nnx

from experiments.models.layers import kernel_xavier, linear


class CausalAttention(nnx.Module):
    """Each position attends to itself and to those before it.

    Args:
      width: number of features, split evenly among the heads.
      heads: number of heads.
      use_bias: biases in both projections, zero at first.
      rngs: source of the initial weights.
    """

    def __init__(self, width: int, heads: int, *, use_bias: bool = True, rngs):
        self.heads = heads
        zeros = nnx.initializers.zeros
        self.qkv = linear(
            width,
            3 * width,
            rngs,
            use_bias=use_bias,
            kernel_init=kernel_xavier,
            bias_init=zeros,
        )
        self.out = linear(width, width, rngs, use_bias=use_bias, bias_init=zeros)

    def __call__(self, x_BxLxF: jax.Array, *, last_only: bool = False) -> jax.Array:
        """Outputs of all positions, or with ``last_only`` of the last one alone.

        The last position sees every other one, so it needs no mask; keys and values
        are computed for all positions, the query and what follows for one.
        """
        if not last_only:
            q, k, v = jnp.split(self.qkv(x_BxLxF), 3, axis=-1)
        else:
            width = x_BxLxF.shape[-1]
            kernel = self.qkv.kernel[...]
            q = x_BxLxF[:, -1:] @ kernel[:, :width]
            kv = x_BxLxF @ kernel[:, width:]
            if self.qkv.bias is not None:
                bias = self.qkv.bias[...]
                q = q + bias[None, None, :width]
                kv = kv + bias[None, None, width:]
            k, v = jnp.split(kv, 2, axis=-1)

        q, k, v = (self._split_heads(a) for a in (q, k, v))
        scores_BxHxQxL = jnp.einsum("BQHD,BLHD->BHQL", q, k) / math.sqrt(q.shape[-1])
        if not last_only:
            length = x_BxLxF.shape[1]
            mask = jnp.tril(jnp.ones((length, length), bool))[None, None]
            scores_BxHxQxL = jnp.where(mask, scores_BxHxQxL, -jnp.inf)
        weights = jax.nn.softmax(scores_BxHxQxL, axis=-1)
        mixed = jnp.einsum("BHQL,BLHD->BQHD", weights, v)
        return self.out(mixed.reshape(*mixed.shape[:2], -1))

    def _split_heads(self, a_BxLxF: jax.Array) -> jax.Array:
        batch, length, width = a_BxLxF.shape
        return a_BxLxF.reshape(batch, length, self.heads, width // self.heads)
