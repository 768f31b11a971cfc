"""Layers with PyTorch's defaults, which the published runs start from."""

import math

import jax
from flax import nnx

kernel_uniform = nnx.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
"""U(±1/√fan_in), PyTorch's default for the weights of a linear layer."""

kernel_xavier = nnx.initializers.xavier_uniform()
"""U(±√(6/(fan_in + fan_out))), PyTorch's for packed attention projections."""

embedding_normal = nnx.initializers.normal(stddev=1.0)
"""N(0, 1), PyTorch's default for embeddings."""


def bias_uniform(fan_in: int) -> jax.nn.initializers.Initializer:
    """U(±1/√fan_in), PyTorch's default for the biases of a linear layer."""
    bound = 1 / math.sqrt(fan_in)

    def init(key, shape, dtype=None, out_sharding=None):
        del out_sharding
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def linear(
    fan_in: int,
    fan_out: int,
    rngs: nnx.Rngs,
    *,
    use_bias: bool = True,
    kernel_init=kernel_uniform,
    bias_init=None,
) -> nnx.Linear:
    """``nnx.Linear`` with PyTorch's default initial distribution."""
    return nnx.Linear(
        fan_in,
        fan_out,
        use_bias=use_bias,
        kernel_init=kernel_init,
        bias_init=bias_init or bias_uniform(fan_in),
        rngs=rngs,
    )


def layer_norm(width: int, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """``nnx.LayerNorm`` with PyTorch's epsilon and two-pass variance."""
    return nnx.LayerNorm(width, epsilon=1e-5, use_fast_variance=False, rngs=rngs)
