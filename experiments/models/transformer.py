"""The decoder-only transformer of the Grokfast experiments.

Each block normalises the residual stream itself at its entrance::

    h ← LN(h);  h ← h + Attention(h);  h ← h + MLP(LN(h))

with learned positions, exact GELU, a final LayerNorm and a head without bias.
Source: arXiv 2405.20233 and its public code; 422,784 parameters for p = 97.
"""

import jax
from flax import nnx

from experiments.models.attention import CausalAttention
from experiments.models.layers import embedding_normal, layer_norm, linear


class Block(nnx.Module):
    """One pre-norm block of attention and MLP; see the module's equations."""

    def __init__(self, width: int, heads: int, *, rngs: nnx.Rngs):
        self.norm_attention = layer_norm(width, rngs)
        self.attention = CausalAttention(width, heads, rngs=rngs)
        self.norm_mlp = layer_norm(width, rngs)
        self.mlp_in = linear(width, 4 * width, rngs)
        self.mlp_out = linear(4 * width, width, rngs)

    def __call__(self, h_BxLxF: jax.Array, *, last_only: bool = False) -> jax.Array:
        """The block's output for all positions, or for the last alone."""
        h = self.norm_attention(h_BxLxF)
        attended = self.attention(h, last_only=last_only)
        h = (h[:, -1:] if last_only else h) + attended
        hidden = jax.nn.gelu(self.mlp_in(self.norm_mlp(h)), approximate=False)
        return h + self.mlp_out(hidden)


class Transformer(nnx.Module):
    """Decoder-only transformer.

    Args:
      vocabulary: number of tokens.
      width: number of features.
      layers: number of blocks.
      heads: attention heads per block; must divide the width.
      positions: rows of the table of positions, one more than the published runs use.
      rngs: source of the initial weights.
    """

    def __init__(
        self,
        vocabulary: int,
        width: int = 128,
        layers: int = 2,
        heads: int = 4,
        *,
        positions: int = 5,
        rngs: nnx.Rngs,
    ):
        self.token_embedding = nnx.Embed(
            vocabulary, width, embedding_init=embedding_normal, rngs=rngs
        )
        self.position_embedding = nnx.Embed(
            positions, width, embedding_init=embedding_normal, rngs=rngs
        )
        self.blocks = nnx.List([Block(width, heads, rngs=rngs) for _ in range(layers)])
        self.norm = layer_norm(width, rngs)
        self.head = linear(width, vocabulary, rngs, use_bias=False)

    def __call__(self, tokens_BxL: jax.Array, *, last_only: bool = True) -> jax.Array:
        """Logits of the last position ``[B, V]``, or of all ``[B, L, V]``.

        With ``last_only`` the last block computes what the last position needs and
        nothing else: the same numbers for a third fewer operations.
        """
        length = tokens_BxL.shape[1]
        positions = self.position_embedding.embedding[:length]
        h = self.token_embedding(tokens_BxL) + positions[None]
        for block in self.blocks[:-1]:
            h = block(h)
        h = self.blocks[-1](h, last_only=last_only)
        logits = self.head(self.norm(h))
        return logits[:, -1] if last_only else logits
