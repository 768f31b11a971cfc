"""Batch normalisation by blocks of the batch, as PyTorch's of a whole one.

Source: Ioffe and Szegedy, arXiv 1502.03167; blocks as in arXiv 2109.14119, whose
gradient of the whole data set is the mean of those of blocks.
"""

import jax
import jax.numpy as jnp
from flax import nnx

EPSILON = 1e-5
STEP = 0.1
"""What a block's statistics count for in the running ones."""


class BatchNorm(nnx.Module):
    """Each channel normalised to mean 0 and variance 1, then scaled and shifted.

    In training the statistics are those of each block of the batch: the first ``block``
    images, the next, … and what is left over. The running ones, for evaluations, go
    towards those of every block in turn, with the variance of an unbiased estimate.

    Args:
      channels: of the images.
      block: images in a block, 0 for the whole batch.
    """

    def __init__(self, channels: int, block: int = 0):
        self.scale = nnx.Param(jnp.ones(channels, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(channels, jnp.float32))
        self.mean = nnx.BatchStat(jnp.zeros(channels, jnp.float32))
        self.var = nnx.BatchStat(jnp.ones(channels, jnp.float32))
        self.block = block
        self.use_running_average = False  # set by nnx.Module.eval and train

    def __call__(self, x_NxHxWxC: jax.Array) -> jax.Array:
        """The normalised images."""
        if self.use_running_average:
            mean, var = (a[...][None, None, None] for a in (self.mean, self.var))
            return self._scaled(x_NxHxWxC - mean, var)
        size = min(self.block, len(x_NxHxWxC)) or len(x_NxHxWxC)
        whole = len(x_NxHxWxC) // size * size
        y = self._by_blocks(x_NxHxWxC[:whole], size)
        if whole == len(x_NxHxWxC):
            return y
        rest = x_NxHxWxC[whole:]
        return jnp.concatenate([y, self._by_blocks(rest, len(rest))])

    def _by_blocks(self, x: jax.Array, size: int) -> jax.Array:
        blocks = x.reshape(-1, size, *x.shape[1:])
        mean = jnp.mean(blocks, axis=(1, 2, 3), keepdims=True)
        centred = blocks - mean
        var = jnp.mean(centred * centred, axis=(1, 2, 3), keepdims=True)
        self._follow(
            mean.reshape(len(blocks), -1),
            var.reshape(len(blocks), -1),
            size * x.shape[1] * x.shape[2],
        )
        return self._scaled(centred, var).reshape(x.shape)

    def _scaled(self, centred: jax.Array, var: jax.Array) -> jax.Array:
        shape = (1,) * (centred.ndim - 1) + (-1,)
        factor = jax.lax.rsqrt(var + EPSILON) * self.scale[...].reshape(shape)
        return centred * factor + self.bias[...].reshape(shape)

    def _follow(self, mean_KxC: jax.Array, var_KxC: jax.Array, count: int) -> None:
        """K steps of the running statistics: r ← (1 − STEP) r + STEP s, in order."""
        blocks = len(mean_KxC)
        left = (1 - STEP) ** blocks
        weights = STEP * (1 - STEP) ** jnp.arange(blocks - 1, -1, -1, mean_KxC.dtype)
        unbiased = var_KxC * (count / max(count - 1, 1))
        for running, each in ((self.mean, mean_KxC), (self.var, unbiased)):
            running[...] = left * running[...] + weights @ each
