"""The decoder-only transformer of Power et al., arXiv 2201.02177.

Normalisation follows each part, activations are ReLU, positions fixed sinusoids, and
nothing but the LayerNorms has a bias::

    h ← LN(h + Attention(h));  h ← LN(h + MLP(h))

394,240 parameters without embedding and head.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from experiments.models.attention import CausalAttention
from experiments.models.columns import Columns
from experiments.models.layers import (
    LayerNorm,
    Linear,
    embedding_normal,
    logits,
)


class PowerBlock(nnx.Module):
    """One post-norm block of attention and MLP; see the module's equations."""

    def __init__(self, width: int, heads: int, *, rngs: nnx.Rngs):
        self.attention = CausalAttention(width, heads, use_bias=False, rngs=rngs)
        self.norm_attention = LayerNorm(width, rngs=rngs)
        self.mlp_in = Linear(width, 4 * width, use_bias=False, rngs=rngs)
        self.mlp_out = Linear(4 * width, width, use_bias=False, rngs=rngs)
        self.norm_mlp = LayerNorm(width, rngs=rngs)

    def __call__(
        self, h_FxN: jax.Array, columns: Columns, *, last_only: bool = False
    ) -> jax.Array:
        """The block's output for all positions, or for the last alone."""
        attended = self.attention(h_FxN, columns, last_only=last_only)
        h = columns.split(h_FxN)[-1] if last_only else h_FxN
        h = self.norm_attention(h + attended)
        return self.norm_mlp(h + self.mlp_out(jax.nn.relu(self.mlp_in(h))))


class PowerTransformer(nnx.Module):
    """Decoder-only transformer; arguments as in ``transformer.Transformer``."""

    def __init__(
        self,
        vocabulary: int,
        width: int = 128,
        layers: int = 2,
        heads: int = 4,
        *,
        rngs: nnx.Rngs,
    ):
        self.token_embedding = nnx.Embed(
            vocabulary, width, embedding_init=embedding_normal, rngs=rngs
        )
        self.blocks = nnx.List(
            [PowerBlock(width, heads, rngs=rngs) for _ in range(layers)]
        )
        self.head = Linear(width, vocabulary, use_bias=False, rngs=rngs)

    def __call__(
        self,
        tokens_BxL: jax.Array,
        *,
        last_only: bool = True,
        prefixes_PxK: jax.Array | None = None,
    ) -> jax.Array:
        """Logits of the last position ``[B, V]``, or of all ``[B, L, V]``."""
        if prefixes_PxK is not None and not last_only:
            raise ValueError("prefixes_PxK needs last_only=True.")
        batch, length = tokens_BxL.shape
        columns = Columns.arrange(tokens_BxL, prefixes_PxK)
        h = self.token_embedding(columns.tokens).T
        h = h + columns.of_positions(sinusoids(length, len(h)).T)
        for block in self.blocks[:-1]:
            h = block(h, columns)
        h = self.blocks[-1](h, columns, last_only=last_only)
        return logits(self.head(h), batch, last_only=last_only)


def sinusoids(length: int, width: int) -> jax.Array:
    """Fixed positions ``[length, width]``: sines and cosines, interleaved.

    Source: Vaswani et al., arXiv 1706.03762, section 3.5.
    """
    even = jnp.arange(0, width, 2)
    angles = jnp.arange(length)[:, None] / 10_000 ** (even / width)[None]
    pairs = jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1)
    return pairs.reshape(length, -1)[:, :width]
