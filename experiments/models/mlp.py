"""A multi-layer perceptron with ReLU, started as PyTorch starts its own.

Source: the MNIST experiments of Omnigrok (arXiv 2210.01117) and Grokfast (arXiv
2405.20233): 784-200-200-10, 199,210 parameters.
"""

import itertools
from collections.abc import Sequence

import jax
from flax import nnx

from experiments.models.layers import Linear


class MLP(nnx.Module):
    """Linear layers with ReLU between them.

    Args:
      widths: features of the input, of every hidden layer and of the output.
      rngs: source of the initial weights.
    """

    def __init__(self, widths: Sequence[int], *, rngs: nnx.Rngs):
        pairs = itertools.pairwise(widths)
        self.layers = nnx.List([Linear(*pair, rngs=rngs) for pair in pairs])

    def __call__(self, x_BxI: jax.Array) -> jax.Array:
        """Outputs ``[B, O]``."""
        h = x_BxI.T
        for layer in self.layers[:-1]:
            h = nnx.relu(layer(h))
        return self.layers[-1](h).T
