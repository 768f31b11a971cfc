"""DenseNet-121 for small images.

Source: Huang et al., arXiv 1608.06993, in its form for CIFAR: the stem is a convolution
of 3 × 3 without pooling, and the image is halved three times.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from experiments.models.batch_norm import BatchNorm
from experiments.models.convolution import Conv
from experiments.models.layers import Linear
from experiments.models.resnet import average_pool, logits_of

DEPTHS_121 = (6, 12, 24, 16)


class PreNormalised(nnx.Module):
    """conv(relu(norm(x))), and what the ReLU gets."""

    def __init__(
        self, fan_in: int, fan_out: int, size: int, block: int, rngs: nnx.Rngs
    ):
        self.norm = BatchNorm(fan_in, block)
        self.conv = Conv(fan_in, fan_out, size, rngs=rngs)

    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The output, and the ReLU's input."""
        z = self.norm(x)
        return self.conv(nnx.relu(z)), z


class DenseNet(nnx.Module):
    """Four stages of layers that each add channels to those of all before them.

    Args:
      depths: layers of each stage.
      width: channels of the stem; a layer adds half as many.
      classes: number of logits.
      block: of BatchNorm.
      rngs: source of the initial weights.
    """

    def __init__(
        self,
        depths: Sequence[int],
        width: int,
        classes: int,
        *,
        block: int = 0,
        rngs: nnx.Rngs,
    ):
        growth, channels = width // 2, width
        self.stem = Conv(3, width, rngs=rngs)
        self.stages: nnx.List = nnx.List([])
        self.transitions: nnx.List = nnx.List([])
        for stage, depth in enumerate(depths):
            if stage:
                halves = PreNormalised(channels, channels // 2, 1, block, rngs)
                self.transitions.append(halves)
                channels //= 2
            layers: nnx.List = nnx.List([])
            for _ in range(depth):
                narrow = PreNormalised(channels, 4 * growth, 1, block, rngs)
                wide = PreNormalised(4 * growth, growth, 3, block, rngs)
                layers.append(nnx.List([narrow, wide]))
                channels += growth
            self.stages.append(layers)
        self.norm = BatchNorm(channels, block)
        self.head = Linear(channels, classes, rngs=rngs)

    def __call__(self, x_NxHxWx3: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Logits ``[N, classes]``, and the inputs of the ReLUs."""
        h = self.stem(x_NxHxWx3)
        seen: dict[str, jax.Array] = {}
        for s, layers in enumerate(self.stages):
            if s:
                h, seen[f"transition{s}"] = self.transitions[s - 1](h)
                h = average_pool(h, 2)
            for i, (narrow, wide) in enumerate(layers):
                added, seen[f"stage{s}.{i}.0"] = narrow(h)
                added, seen[f"stage{s}.{i}.1"] = wide(added)
                h = jnp.concatenate([added, h], axis=-1)
        seen["norm"] = self.norm(h)
        return logits_of(self.head, nnx.relu(seen["norm"])), seen
