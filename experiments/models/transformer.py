"""The decoder-only transformer of the Grokfast experiments.

Each block normalises the residual stream itself at its entrance::

    h ← LN(h);  h ← h + Attention(h);  h ← h + MLP(LN(h))

with learned positions, exact GELU, a final LayerNorm and a head without bias.
Source: arXiv 2405.20233 and its public code; 422,784 parameters for p = 97.
"""

import jax
from flax import nnx

from experiments.models.attention import CausalAttention
from experiments.models.columns import Columns
from experiments.models.layers import (
    LayerNorm,
    Linear,
    embedding_normal,
    gelu,
    logits,
)


class Block(nnx.Module):
    """One pre-norm block of attention and MLP; see the module's equations."""

    def __init__(self, width: int, heads: int, *, rngs: nnx.Rngs):
        self.norm_attention = LayerNorm(width, rngs=rngs)
        self.attention = CausalAttention(width, heads, rngs=rngs)
        self.norm_mlp = LayerNorm(width, rngs=rngs)
        self.mlp_in = Linear(width, 4 * width, rngs=rngs)
        self.mlp_out = Linear(4 * width, width, rngs=rngs)

    def __call__(
        self, h_FxN: jax.Array, columns: Columns, *, last_only: bool = False
    ) -> jax.Array:
        """The block's output for all positions, or for the last alone."""
        h = self.norm_attention(h_FxN)
        attended = self.attention(h, columns, last_only=last_only)
        h = (columns.split(h)[-1] if last_only else h) + attended
        return h + self.mlp_out(gelu(self.mlp_in(self.norm_mlp(h))))


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
        self.norm = LayerNorm(width, rngs=rngs)
        self.head = Linear(width, vocabulary, use_bias=False, rngs=rngs)

    def __call__(
        self,
        tokens_BxL: jax.Array,
        *,
        last_only: bool = True,
        prefixes_PxK: jax.Array | None = None,
    ) -> jax.Array:
        """Logits of the last position ``[B, V]``, or of all ``[B, L, V]``.

        With ``last_only`` the last block computes what the last position needs and
        nothing else: the same numbers for a third fewer operations. ``prefixes_PxK``
        saves more, see :meth:`Columns.arrange`; it goes with ``last_only``.
        """
        if prefixes_PxK is not None and not last_only:
            raise ValueError("prefixes_PxK needs last_only=True.")
        batch, length = tokens_BxL.shape
        columns = Columns.arrange(tokens_BxL, prefixes_PxK)
        positions = self.position_embedding.embedding[:length].T
        h = self.token_embedding(columns.tokens).T + columns.of_positions(positions)
        for block in self.blocks[:-1]:
            h = block(h, columns)
        h = self.blocks[-1](h, columns, last_only=last_only)
        return logits(self.head(self.norm(h)), batch, last_only=last_only)
