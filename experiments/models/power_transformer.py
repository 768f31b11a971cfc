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
from experiments.models.layers import embedding_normal, layer_norm, linear


class PowerBlock(nnx.Module):
    """One post-norm block of attention and MLP; see the module's equations."""

    def __init__(self, width: int, heads: int, *, rngs: nnx.Rngs):
        self.attention = CausalAttention(width, heads, use_bias=False, rngs=rngs)
        self.norm_attention = layer_norm(width, rngs)
        self.mlp_in = linear(width, 4 * width, rngs, use_bias=False)
        self.mlp_out = linear(4 * width, width, rngs, use_bias=False)
        self.norm_mlp = layer_norm(width, rngs)

    def __call__(self, h_BxLxF: jax.Array, *, last_only: bool = False) -> jax.Array:
        """The block's output for all positions, or for the last alone."""
        attended = self.attention(h_BxLxF, last_only=last_only)
        h = (h_BxLxF[:, -1:] if last_only else h_BxLxF) + attended
        h = self.norm_attention(h)
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
        self.head = linear(width, vocabulary, rngs, use_bias=False)

    def __call__(self, tokens_BxL: jax.Array, *, last_only: bool = True) -> jax.Array:
        """Logits of the last position ``[B, V]``, or of all ``[B, L, V]``."""
        h = self.token_embedding(tokens_BxL)
        h = h + sinusoids(*h.shape[1:])[None]
        for block in self.blocks[:-1]:
            h = block(h)
        logits = self.head(self.blocks[-1](h, last_only=last_only))
        return logits[:, -1] if last_only else logits


def sinusoids(length: int, width: int) -> jax.Array:
    """Fixed positions ``[length, width]``: sines and cosines, interleaved.

    Source: Vaswani et al., arXiv 1706.03762, section 3.5.
    """
    even = jnp.arange(0, width, 2)
    angles = jnp.arange(length)[:, None] / 10_000 ** (even / width)[None]
    pairs = jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1)
    return pairs.reshape(length, -1)[:, :width]
