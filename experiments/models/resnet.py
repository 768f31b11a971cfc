"""Residual networks for small images: post-activation, and pre-activation without norm.

Sources: He et al., arXiv 1512.03385 and 1603.05027, in their form for CIFAR: the stem
is a convolution of 3 × 3 without pooling, four stages halve the image three times.
:class:`ResNet` is that of arXiv 2109.14119, whose shortcuts average before a 1 × 1
convolution; :class:`PreActivationResNet` that of arXiv 2402.15555, whose shortcuts have
a stride. A network gives logits and the inputs of its ReLUs, by name.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from experiments.models.batch_norm import BatchNorm
from experiments.models.convolution import Conv
from experiments.models.layers import Linear, kernel_uniform

Shape = tuple[int, int, int, int]
"""Of a convolution: channels in and out, size of the kernel, stride."""


def basic(fan_in: int, width: int, stride: int) -> list[Shape]:
    """The convolutions of a basic block."""
    return [(fan_in, width, 3, stride), (width, width, 3, 1)]


def bottleneck(fan_in: int, width: int, stride: int) -> list[Shape]:
    """The convolutions of a bottleneck, which has four times its width at the end."""
    last = (width, 4 * width, 1, 1)
    return [(fan_in, width, 1, 1), (width, width, 3, stride), last]


def average_pool(x_NxHxWxC: jax.Array, size: int) -> jax.Array:
    """Means of squares of ``size`` × ``size`` pixels."""
    n, h, w, c = x_NxHxWxC.shape
    squares = x_NxHxWxC.reshape(n, h // size, size, w // size, size, c)
    return jnp.mean(squares, axis=(2, 4))


def logits_of(head: Linear, x_NxHxWxC: jax.Array) -> jax.Array:
    """A linear layer on the means over all pixels, ``[N, classes]``."""
    return head(jnp.mean(x_NxHxWxC, axis=(1, 2)).T).T


class Normalised(nnx.Module):
    """BatchNorm of a convolution."""

    def __init__(self, shape: Shape, block: int, rngs: nnx.Rngs):
        self.conv = Conv(*shape, rngs=rngs)
        self.norm = BatchNorm(shape[1], block)

    def __call__(self, x: jax.Array) -> jax.Array:
        """The normalised output."""
        return self.norm(self.conv(x))


class Residual(nnx.Module):
    """relu(s(x) + f(x)): f of normalised convolutions, ReLUs between them.

    s is the identity, or where the shape changes an average over squares of the stride
    and a normalised convolution of 1 × 1.
    """

    def __init__(
        self, shapes: Sequence[Shape], stride: int, block: int, rngs: nnx.Rngs
    ):
        self.layers = nnx.List([Normalised(shape, block, rngs) for shape in shapes])
        fan_in, fan_out = shapes[0][0], shapes[-1][1]
        self.stride = stride
        changes = stride > 1 or fan_in != fan_out
        shape = fan_in, fan_out, 1, 1
        self.shortcut = Normalised(shape, block, rngs) if changes else None

    def __call__(self, x: jax.Array) -> tuple[jax.Array, list[jax.Array]]:
        """The output, and the inputs of the ReLUs."""
        inputs = [self.layers[0](x)]
        for layer in self.layers[1:]:
            inputs.append(layer(nnx.relu(inputs[-1])))
        if self.shortcut is not None:
            x = self.shortcut(average_pool(x, self.stride) if self.stride > 1 else x)
        inputs[-1] += x
        return nnx.relu(inputs[-1]), inputs


class ResNet(nnx.Module):
    """Stem, four stages of residual blocks, and a linear layer on the means.

    Args:
      shapes: the convolutions of a block: :func:`basic` or :func:`bottleneck`.
      depths: blocks of each stage.
      width: channels of the stem and of the first stage; each stage doubles them.
      classes: number of logits.
      block: of BatchNorm.
      rngs: source of the initial weights.
    """

    def __init__(
        self,
        shapes: Callable[[int, int, int], list[Shape]],
        depths: Sequence[int],
        width: int,
        classes: int,
        *,
        block: int = 0,
        rngs: nnx.Rngs,
    ):
        self.stem = Normalised((3, width, 3, 1), block, rngs)
        self.blocks: nnx.List = nnx.List([])
        channels = width
        for stage, depth in enumerate(depths):
            for i in range(depth):
                stride = 2 if stage and i == 0 else 1
                convolutions = shapes(channels, width * 2**stage, stride)
                self.blocks.append(Residual(convolutions, stride, block, rngs))
                channels = convolutions[-1][1]
        self.head = Linear(channels, classes, rngs=rngs)

    def __call__(self, x_NxHxWx3: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Logits ``[N, classes]``, and the inputs of the ReLUs."""
        seen = {"stem": self.stem(x_NxHxWx3)}
        h = nnx.relu(seen["stem"])
        for b, block in enumerate(self.blocks):
            h, inputs = block(h)
            seen |= {f"block{b}.{i}": z for i, z in enumerate(inputs)}
        return logits_of(self.head, h), seen


class PreActivationBlock(nnx.Module):
    """s + conv(relu(conv(relu(x)))); s is x, or a 1 × 1 convolution of relu(x)."""

    def __init__(self, fan_in: int, width: int, stride: int, rngs: nnx.Rngs):
        def conv(*shape: int) -> Conv:
            return Conv(*shape, kernel_init=kernel_uniform, rngs=rngs)

        self.first = conv(fan_in, width, 3, stride)
        self.second = conv(width, width)
        changes = stride > 1 or fan_in != width
        self.shortcut = conv(fan_in, width, 1, stride) if changes else None

    def __call__(self, x: jax.Array) -> tuple[jax.Array, list[jax.Array]]:
        """The output, and the inputs of the ReLUs."""
        h = nnx.relu(x)
        z = self.first(h)
        s = x if self.shortcut is None else self.shortcut(h)
        return s + self.second(nnx.relu(z)), [x, z]


class PreActivationResNet(nnx.Module):
    """The pre-activation ResNet-18 without BatchNorm, started as PyTorch starts it.

    Args:
      width: channels of the stem and of the first stage; each stage doubles them.
      classes: number of logits.
      rngs: source of the initial weights.
    """

    def __init__(self, width: int, classes: int, *, rngs: nnx.Rngs):
        self.stem = Conv(3, width, kernel_init=kernel_uniform, rngs=rngs)
        self.blocks: nnx.List = nnx.List([])
        channels = width
        for stage in range(4):
            for i in range(2):
                stride = 2 if stage and i == 0 else 1
                own = width * 2**stage
                self.blocks.append(PreActivationBlock(channels, own, stride, rngs))
                channels = own
        self.head = Linear(channels, classes, rngs=rngs)

    def __call__(self, x_NxHxWx3: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Logits ``[N, classes]``, and the inputs of the ReLUs."""
        h = self.stem(x_NxHxWx3)
        seen: dict[str, jax.Array] = {}
        for b, block in enumerate(self.blocks):
            h, inputs = block(h)
            seen |= {f"block{b}.{i}": z for i, z in enumerate(inputs)}
        return logits_of(self.head, h), seen
