"""BERT: a bidirectional encoder, and a classifier of what its positions pool into.

Sources: Devlin et al., BERT (arXiv 1810.04805); the names and sizes of Hugging Face's
``BertModel``; pooling by the mean: Reimers and Gurevych, Sentence-BERT (arXiv
1908.10084). Each block normalises after its residual sums::

    h ← LN(h + Attention(h));  h ← LN(h + MLP(h))

with exact GELU, and dropout on what is added and on the attention's weights.

Activations are ``[N, F]``, a row a position of an example (``N = B · L``, the positions
of an example side by side): every product of a linear layer has two dimensions, and
its gradients too. Where the classifier sees the first position alone, the last block
computes no other: the same numbers for a seventh fewer operations (six layers).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from experiments.models.bert_sizes import BertSizes
from experiments.models.dropout import Dropout, Mask, draw_mask
from experiments.models.layers import gelu

kernel_normal = nnx.initializers.normal(stddev=0.02)
"""N(0, .02²), BERT's for all weights."""


class Batch(NamedTuple):
    """What blocks know of their input beside its activations.

    Attributes:
      lengths: tokens of each example, ``[B]``.
      length: positions of each, the padded ones included.
    """

    lengths: jax.Array
    length: int

    def is_token(self) -> jax.Array:
        """Which positions are no padding, ``[B, L]``."""
        return jnp.arange(self.length)[None] < self.lengths[:, None]

    def first(self, a_NxF: jax.Array) -> jax.Array:
        """The rows of the first positions, ``[B, F]``."""
        return a_NxF.reshape(len(self.lengths), self.length, -1)[:, 0]

    def mean(self, a_NxF: jax.Array) -> jax.Array:
        """The means over the tokens, ``[B, F]``."""
        a_BxLxF = a_NxF.reshape(len(self.lengths), self.length, -1)
        tokens = jnp.where(self.is_token()[..., None], a_BxLxF, 0)
        return tokens.sum(axis=1) / self.lengths[:, None]


class Masks(NamedTuple):
    """Dropout of one block.

    Attributes:
      attention: of its weights, ``[B, H, L, L]``.
      added: of what is added to the residual stream, twice ``[N, F]``.
    """

    attention: Mask
    added: tuple[Mask, Mask]

    def first(self, batch: Batch) -> "Masks":
        """Of the first positions alone."""
        attention, (one, two) = self
        return Masks(
            attention._replace(kept=attention.kept[:, :, :1]),
            (
                one._replace(kept=batch.first(one.kept)),
                two._replace(kept=batch.first(two.kept)),
            ),
        )


class Linear(nnx.Linear):
    """x K + b, from ``[N, I]`` to ``[N, O]``; started as BERT's."""

    def __init__(self, fan_in: int, fan_out: int, *, rngs: nnx.Rngs):
        super().__init__(fan_in, fan_out, kernel_init=kernel_normal, rngs=rngs)

    def __call__(self, x_NxI: jax.Array, outputs: slice = slice(None)) -> jax.Array:
        """The layer's outputs, or some of them."""
        assert self.bias is not None
        return x_NxI @ self.kernel[...][:, outputs] + self.bias[...][outputs][None]


class LayerNorm(nnx.LayerNorm):
    """Each row normalised, scaled and shifted; the variance is of a second pass."""

    def __init__(self, width: int, epsilon: float, *, rngs: nnx.Rngs):
        super().__init__(width, epsilon=epsilon, use_fast_variance=False, rngs=rngs)


class SelfAttention(nnx.Module):
    """Multi-head attention of every position to all that are no padding."""

    def __init__(self, width: int, heads: int, *, rngs: nnx.Rngs):
        self.heads = heads
        self.qkv = Linear(width, 3 * width, rngs=rngs)
        self.out = Linear(width, width, rngs=rngs)

    def __call__(
        self,
        x_NxF: jax.Array,
        batch: Batch,
        mask: Mask | None,
        *,
        first_only: bool = False,
    ) -> jax.Array:
        """Outputs of all positions ``[N, F]``, or of the first of each ``[B, F]``."""
        width, examples = x_NxF.shape[1], len(batch.lengths)
        if first_only:
            q = self.qkv(batch.first(x_NxF), slice(width))
            k, v = jnp.split(self.qkv(x_NxF, slice(width, None)), 2, axis=1)
        else:
            q, k, v = jnp.split(self.qkv(x_NxF), 3, axis=1)
        q_BxHxQxD, k_BxHxLxD, v_BxHxLxD = (
            a.reshape(examples, -1, self.heads, width // self.heads).swapaxes(1, 2)
            for a in (q, k, v)
        )
        scores = jnp.einsum("bhqd,bhld->bhql", q_BxHxQxD, k_BxHxLxD)
        scores *= 1 / math.sqrt(width // self.heads)
        lowest = jnp.finfo(scores.dtype).min
        scores = jnp.where(batch.is_token()[:, None, None], scores, lowest)
        weights = jax.nn.softmax(scores, axis=-1)
        if mask is not None:
            weights = mask(weights)
        mixed = jnp.einsum("bhql,bhld->bhqd", weights, v_BxHxLxD)
        return self.out(mixed.swapaxes(1, 2).reshape(-1, width))


class Block(nnx.Module):
    """One post-norm block of attention and MLP; see the module's equations."""

    def __init__(self, sizes: BertSizes, *, rngs: nnx.Rngs):
        width = sizes.width
        self.attention = SelfAttention(width, sizes.heads, rngs=rngs)
        self.norm_attention = LayerNorm(width, sizes.epsilon, rngs=rngs)
        self.mlp_in = Linear(width, sizes.inner, rngs=rngs)
        self.mlp_out = Linear(sizes.inner, width, rngs=rngs)
        self.norm_mlp = LayerNorm(width, sizes.epsilon, rngs=rngs)

    def __call__(
        self,
        h_NxF: jax.Array,
        batch: Batch,
        masks: Masks | None = None,
        *,
        first_only: bool = False,
    ) -> jax.Array:
        """The block's output at all positions, or at the first of each example."""
        mask = None if masks is None else masks.attention
        added = self.attention(h_NxF, batch, mask, first_only=first_only)
        h = batch.first(h_NxF) if first_only else h_NxF
        h = self.norm_attention(h + (added if masks is None else masks.added[0](added)))
        added = self.mlp_out(gelu(self.mlp_in(h)))
        return self.norm_mlp(h + (added if masks is None else masks.added[1](added)))


class Bert(nnx.Module):
    """Embeddings, blocks, pooling, and a classifier.

    Args:
      sizes: of the model.
      classes: outputs of the classifier.
      pooling: ``"first"``, BERT's, tanh(W h + b) of the first position; or ``"mean"``,
        of all tokens, without weights.
      rngs: source of the initial weights, N(0, .02²).
    """

    def __init__(self, sizes: BertSizes, classes: int, *, pooling: str, rngs: nnx.Rngs):
        width = sizes.width
        self.pooling = pooling

        def embedding(rows: int) -> nnx.Embed:
            return nnx.Embed(rows, width, embedding_init=kernel_normal, rngs=rngs)

        self.words = embedding(sizes.vocabulary)
        self.positions = embedding(sizes.positions)
        self.types = embedding(sizes.types)
        self.norm = LayerNorm(width, sizes.epsilon, rngs=rngs)
        self.blocks = nnx.List([Block(sizes, rngs=rngs) for _ in range(sizes.layers)])
        if pooling == "first":
            self.pooler = Linear(width, width, rngs=rngs)
        self.classifier = Linear(width, classes, rngs=rngs)

    def __call__(
        self,
        tokens_BxL: jax.Array,
        lengths_B: jax.Array,
        first_lengths_B: jax.Array,
        dropout: Dropout | None = None,
    ) -> jax.Array:
        """Logits of the classes, ``[B, C]``.

        Args:
          tokens_BxL: ids; what is behind an example's end has no effect.
          lengths_B: tokens of each example.
          first_lengths_B: those of its first sentence.
          dropout: None for none.
        """
        batch = Batch(lengths_B, tokens_BxL.shape[1])
        h = self.embed(tokens_BxL, first_lengths_B)
        masks: Sequence[Masks | None] = [None] * len(self.blocks)
        if dropout is not None:
            (of_embeddings, of_pooled), masks = self._masks(batch, dropout)
            h = of_embeddings(h)
        for block, mask in zip(self.blocks[:-1], masks[:-1], strict=True):
            h = block(h, batch, mask)
        pooled = self._pool(h, batch, masks[-1])
        return self.classifier(pooled if dropout is None else of_pooled(pooled))

    def embed(self, tokens_BxL: jax.Array, first_lengths_B: jax.Array) -> jax.Array:
        """Activations ``[N, F]`` ahead of the blocks."""
        length = tokens_BxL.shape[1]
        h = self.words(tokens_BxL)
        types = self.types.embedding[...][:, None, None]
        if len(types) == 1:
            h += types[0]
        else:
            is_first = jnp.arange(length)[None] < first_lengths_B[:, None]
            h += jnp.where(is_first[..., None], types[0], types[1])
        h += self.positions.embedding[...][None, :length]
        return self.norm(h.reshape(-1, h.shape[-1]))

    def _pool(self, h_NxF: jax.Array, batch: Batch, masks: Masks | None) -> jax.Array:
        """The last block, and what the classifier sees of it, ``[B, F]``."""
        last = self.blocks[-1]
        if self.pooling == "mean":
            return batch.mean(last(h_NxF, batch, masks))
        masks = None if masks is None else masks.first(batch)
        return jnp.tanh(self.pooler(last(h_NxF, batch, masks, first_only=True)))

    def _masks(
        self, batch: Batch, dropout: Dropout
    ) -> tuple[tuple[Mask, Mask], list[Masks]]:
        """Of embeddings and pooled output, and of every block."""
        layers, heads = len(self.blocks), self.blocks[0].attention.heads
        examples, places = len(batch.lengths), 2 * layers + 2
        positions = jnp.arange(batch.length)[None]
        rows = jnp.arange(examples)[:, None] + examples * positions  # of any padding
        keys = jax.random.split(dropout.key)
        of_place = jnp.arange(places)[:, None]
        numbers = rows.reshape(1, -1) * places + of_place
        hidden = draw_mask(dropout.hidden, keys[0], numbers, self.words.features)
        of_head, of_layer = (
            jnp.arange(count).reshape(-1, *[1] * axes)
            for count, axes in ((heads, 1), (layers, 3))
        )
        numbers = rows[None, :, None] * heads + of_head[None, None]
        numbers = numbers * layers + of_layer
        attention = draw_mask(dropout.attention, keys[1], numbers, batch.length)
        first, last, *added = (Mask(kept, dropout.hidden) for kept in hidden)
        pairs = zip(added[::2], added[1::2], strict=True)
        masks = [
            Masks(Mask(kept, dropout.attention), pair)
            for kept, pair in zip(attention, pairs, strict=True)
        ]
        return (first, last._replace(kept=batch.first(last.kept))), masks
