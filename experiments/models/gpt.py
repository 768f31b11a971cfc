"""The decoder-only transformer of GPT-2, for many positions.

Each block adds to the residual stream what attention and MLP make of its normal form::

    h ← h + Attention(LN(h));  h ← h + MLP(LN(h))

with learned positions, exact GELU, a final LayerNorm, and the table of tokens as the
head too. Weights start as N(0, .02²), those into the residual stream divided by
√(2 · layers), biases as zeros. Source: Radford et al., Language Models are Unsupervised
Multitask Learners (2019), as in the public code of nanoGPT.

Columns go example by example (``N = B · L``), so that an example's positions are next
to each other in the products of attention.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from experiments.models.layers import LayerNorm, Linear, gelu

_DEVIATION = 0.02
_LARGEST_ONE_HOT = 256
"""Up to so many tokens they are looked up by a product with one-hot columns: on two CPU
cores a step of 65 characters takes 5 % less, the gradient being no scatter."""


class Size(NamedTuple):
    """How large a model is, and how it is regularised.

    Attributes:
      vocabulary: number of tokens.
      block: number of positions, the longest example.
      layers: number of blocks.
      heads: attention heads per block; must divide the width.
      width: number of features.
      dropout: part that is dropped, in training, of embeddings, attention weights and
        what blocks add.
      bias: biases in linear layers and LayerNorms.
    """

    vocabulary: int
    block: int
    layers: int = 4
    heads: int = 4
    width: int = 128
    dropout: float = 0.0
    bias: bool = False

    def linear(
        self, fan_in: int, fan_out: int, *, residual: bool = False, rngs: nnx.Rngs
    ) -> Linear:
        """A linear layer, perhaps one into the residual stream, from widths to widths.

        Its sizes are multiples of the model's width.
        """
        deviation = _DEVIATION / math.sqrt(2 * self.layers if residual else 1)
        return Linear(
            fan_in * self.width,
            fan_out * self.width,
            use_bias=self.bias,
            kernel_init=nnx.initializers.normal(deviation),
            bias_init=nnx.initializers.zeros,
            rngs=rngs,
        )

    def norm(self, *, rngs: nnx.Rngs) -> LayerNorm:
        """A LayerNorm."""
        return LayerNorm(self.width, use_bias=self.bias, rngs=rngs)


class Attention(nnx.Module):
    """Softmax of q · k / √D over the positions so far, and the values' mean by it."""

    def __init__(self, size: Size, *, rngs: nnx.Rngs):
        self.heads = size.heads
        self.qkv = size.linear(1, 3, rngs=rngs)
        self.out = size.linear(1, 1, residual=True, rngs=rngs)
        self.dropout = nnx.Dropout(size.dropout)

    def __call__(
        self, x_FxN: jax.Array, length: int, rngs: nnx.Rngs | None
    ) -> jax.Array:
        """Outputs of all positions of examples of that length."""
        width, columns = x_FxN.shape
        shape = 3, self.heads, width // self.heads, columns // length, length
        q, k, v = self.qkv(x_FxN).reshape(shape)  # HxDxBxL each
        scores = jnp.einsum("hdbq,hdbk->hbqk", q, k) / math.sqrt(shape[2])
        past = jnp.tril(jnp.ones((length, length), bool))[None, None]
        weights = jax.nn.softmax(jnp.where(past, scores, -jnp.inf))
        weights = self.dropout(weights, rngs=rngs)
        mixed = jnp.einsum("hbqk,hdbk->hdbq", weights, v)
        return self.out(mixed.reshape(width, columns))


class Block(nnx.Module):
    """One pre-norm block of attention and MLP; see the module's equations."""

    def __init__(self, size: Size, *, rngs: nnx.Rngs):
        self.norm_attention = size.norm(rngs=rngs)
        self.attention = Attention(size, rngs=rngs)
        self.norm_mlp = size.norm(rngs=rngs)
        self.mlp_in = size.linear(1, 4, rngs=rngs)
        self.mlp_out = size.linear(4, 1, residual=True, rngs=rngs)
        self.dropout = nnx.Dropout(size.dropout)

    def __call__(
        self, h_FxN: jax.Array, length: int, rngs: nnx.Rngs | None
    ) -> jax.Array:
        """The block's output for all positions."""
        attended = self.attention(self.norm_attention(h_FxN), length, rngs)
        h = h_FxN + self.dropout(attended, rngs=rngs)
        made = self.mlp_out(gelu(self.mlp_in(self.norm_mlp(h))))
        return h + self.dropout(made, rngs=rngs)


class GPT(nnx.Module):
    """Decoder-only transformer.

    Args:
      size: of the model.
      rngs: source of the initial weights.
    """

    def __init__(self, size: Size, *, rngs: nnx.Rngs):
        def table(rows: int) -> nnx.Embed:
            normal = nnx.initializers.normal(_DEVIATION)
            return nnx.Embed(rows, size.width, embedding_init=normal, rngs=rngs)

        self.token_embedding = table(size.vocabulary)
        self.position_embedding = table(size.block)
        self.dropout = nnx.Dropout(size.dropout)
        self.blocks = nnx.List([Block(size, rngs=rngs) for _ in range(size.layers)])
        self.norm = size.norm(rngs=rngs)

    def __call__(
        self, tokens_BxL: jax.Array, *, rngs: nnx.Rngs | None = None
    ) -> jax.Array:
        """Logits of the token after every position, ``[B, L, V]``.

        Args:
          tokens_BxL: examples, at most as long as the block.
          rngs: has ``dropout``; needed in training, if there is dropout.
        """
        batch, length = tokens_BxL.shape
        table_VxF = self.token_embedding.embedding[...]
        positions_FxL = self.position_embedding.embedding[:length].T
        h = _looked_up(table_VxF, tokens_BxL.reshape(-1))
        h = self.dropout(h + jnp.tile(positions_FxL, (1, batch)), rngs=rngs)
        for block in self.blocks:
            h = block(h, length, rngs)
        logits_VxN = table_VxF @ self.norm(h)
        return logits_VxN.reshape(-1, batch, length).transpose(1, 2, 0)


def _looked_up(table_VxF: jax.Array, tokens_N: jax.Array) -> jax.Array:
    """The rows of some tokens as columns, ``[F, N]``."""
    vocabulary, dtype = len(table_VxF), table_VxF.dtype
    if vocabulary > _LARGEST_ONE_HOT:
        return table_VxF[tokens_N].T
    columns = jax.nn.one_hot(tokens_N, vocabulary, axis=0, dtype=dtype)
    # It copies, so it needs every bit, whatever the precision of other products.
    return jnp.matmul(table_VxF.T, columns, precision="highest")
