"""The network of the IMDb experiments: embedding, stacked LSTM, a number at the end."""

import math

import jax
from flax import nnx

from experiments.models.layers import (
    bias_uniform,
    embedding_normal,
    kernel_uniform,
)
from experiments.models.padded_lstm import Weights, last_outputs


class LstmLayer(nnx.Module):
    """Weights of a layer as in PyTorch: two biases, all U(±1/√H).

    Args:
      fan_in: features of its inputs.
      width: its features, H.
      rngs: source of the initial weights.
    """

    def __init__(self, fan_in: int, width: int, *, rngs: nnx.Rngs):
        bound = 1 / math.sqrt(width)

        def uniform(*shape: int) -> nnx.Param:
            key = rngs.params()
            return nnx.Param(jax.random.uniform(key, shape, None, -bound, bound))

        self.input = uniform(fan_in, 4 * width)
        self.recurrent = uniform(width, 4 * width)
        self.input_bias = uniform(4 * width)
        self.recurrent_bias = uniform(4 * width)

    @property
    def bias(self) -> jax.Array:
        """The sum of both."""
        return self.input_bias[...] + self.recurrent_bias[...]


class ReviewLstm(nnx.Module):
    """A number for each text: the head's output after the last token.

    Args:
      tokens: that there are, padding included.
      embedding: features of a token.
      width: features of a layer, H.
      layers: of the LSTM.
      product_dtype: see :func:`experiments.models.padded_lstm.last_outputs`.
      rngs: source of the initial weights.
    """

    def __init__(
        self,
        tokens: int,
        embedding: int,
        width: int,
        layers: int,
        *,
        product_dtype: str = "float32",
        rngs: nnx.Rngs,
    ):
        self.product_dtype = product_dtype
        table = embedding_normal(rngs.params(), (tokens, embedding))
        self.embedding = nnx.Param(table)
        fans = [embedding] + [width] * (layers - 1)
        self.layers = nnx.List([LstmLayer(fan, width, rngs=rngs) for fan in fans])
        self.head = nnx.Linear(
            width,
            1,
            kernel_init=kernel_uniform,
            bias_init=bias_uniform(width),
            rngs=rngs,
        )

    def __call__(self, tokens_BxT: jax.Array) -> jax.Array:
        """``[B]``; leading zeros are padding, which is read like other tokens."""
        first, *above = self.layers
        weights = Weights(
            # There are fewer tokens than positions: each is multiplied once.
            self.embedding[...] @ first.input[...] + first.bias[None],
            tuple(layer.input[...] for layer in above),
            tuple(layer.bias for layer in above),
            tuple(layer.recurrent[...] for layer in self.layers),
        )
        last = last_outputs(weights, tokens_BxT, self.product_dtype)
        return self.head(last)[:, 0]
