"""Layers on activations with features first, started as PyTorch starts its own.

Activations are ``[F, N]``: a row a feature, a column a position of an example, the
positions of all examples after one another (``N = L · B``, position-major). On a CPU
the inner loops of everything but the matrix products then run over many columns, which
vectorises; sums over features are sums of rows; and all three products of a linear
layer and its gradient run at full speed (benchmarks/RESULTS.md).
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
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

    def init(
        key: jax.Array, shape: Any, dtype: Any = None, out_sharding: Any = None
    ) -> jax.Array:
        del out_sharding
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


class Linear(nnx.Linear):
    """y = Kᵀ x + b, from ``[I, N]`` to ``[O, N]``; the kernel K is ``[I, O]``."""

    def __init__(
        self,
        fan_in: int,
        fan_out: int,
        *,
        use_bias: bool = True,
        kernel_init: jax.nn.initializers.Initializer = kernel_uniform,
        bias_init: jax.nn.initializers.Initializer | None = None,
        rngs: nnx.Rngs,
    ):
        super().__init__(
            fan_in,
            fan_out,
            use_bias=use_bias,
            kernel_init=kernel_init,
            bias_init=bias_init or bias_uniform(fan_in),
            rngs=rngs,
        )

    def __call__(self, x_IxN: jax.Array, outputs: slice = slice(None)) -> jax.Array:
        """The layer's outputs, or some of them."""
        y = self.kernel[...][:, outputs].T @ x_IxN
        return y if self.bias is None else y + self.bias[...][outputs, None]


class LayerNorm(nnx.LayerNorm):
    """Each column normalised to mean 0 and variance 1, then scaled and shifted.

    Epsilon is PyTorch's; the variance is taken in a second pass.
    """

    def __init__(self, width: int, *, use_bias: bool = True, rngs: nnx.Rngs):
        super().__init__(width, epsilon=1e-5, use_bias=use_bias, rngs=rngs)

    def __call__(self, x_FxN: jax.Array) -> jax.Array:  # type: ignore[override]
        """The normalised columns."""
        centred = x_FxN - jnp.mean(x_FxN, axis=0, keepdims=True)
        variance = jnp.mean(centred * centred, axis=0, keepdims=True)
        normal = centred * jax.lax.rsqrt(variance + self.epsilon)
        assert self.scale is not None
        scaled = normal * self.scale[...][:, None]
        return scaled if self.bias is None else scaled + self.bias[...][:, None]


def logits(head_VxN: jax.Array, batch: int, *, last_only: bool) -> jax.Array:
    """A head's output as ``[B, V]`` for one position, ``[B, L, V]`` for several."""
    if last_only:
        return head_VxN.T
    return head_VxN.reshape(len(head_VxN), -1, batch).transpose(2, 1, 0)


def gelu(x: jax.Array) -> jax.Array:
    """GELU, x · Φ(x), by the error function, as PyTorch's default."""
    return 0.5 * x * (1 + jax.lax.erf(x * math.sqrt(0.5)))
