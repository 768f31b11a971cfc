"""The networks for images in plain PyTorch, to measure ours against.

Those of ``experiments.models`` as one would write them in PyTorch: channels first,
``nn.BatchNorm2d``, ``torch.optim.SGD``. Their parts have the names of ours.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

Shape = tuple[int, int, int, int]


def conv(fan_in: int, fan_out: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
    """A convolution that keeps the image's size but for its stride."""
    return nn.Conv2d(fan_in, fan_out, size, stride, padding=size // 2, bias=False)


class Normalised(nn.Module):
    """BatchNorm of a convolution."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.conv, self.norm = conv(*shape), nn.BatchNorm2d(shape[1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[N, I, H, W]`` to ``[N, O, H, W]``."""
        return self.norm(self.conv(x))


class Residual(nn.Module):
    """relu(s(x) + f(x))."""

    def __init__(self, shapes: Sequence[Shape], stride: int):
        super().__init__()
        self.layers = nn.ModuleList([Normalised(shape) for shape in shapes])
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        fan_in, fan_out = shapes[0][0], shapes[-1][1]
        changes = stride > 1 or fan_in != fan_out
        shape = fan_in, fan_out, 1, 1
        self.shortcut = Normalised(shape) if changes else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[N, C, H, W]``."""
        h = self.layers[0](x)
        for layer in self.layers[1:]:
            h = layer(torch.relu(h))
        return torch.relu(h + self.shortcut(self.pool(x)))


def basic(fan_in: int, width: int, stride: int) -> list[Shape]:
    """The convolutions of a basic block."""
    return [(fan_in, width, 3, stride), (width, width, 3, 1)]


def bottleneck(fan_in: int, width: int, stride: int) -> list[Shape]:
    """The convolutions of a bottleneck."""
    last = (width, 4 * width, 1, 1)
    return [(fan_in, width, 1, 1), (width, width, 3, stride), last]


class ResNet(nn.Module):
    """``experiments.models.resnet.ResNet``."""

    def __init__(
        self,
        shapes: Callable[[int, int, int], list[Shape]],
        depths: Sequence[int],
        width: int,
        classes: int = 10,
    ):
        super().__init__()
        self.stem = Normalised((3, width, 3, 1))
        self.blocks = nn.ModuleList()
        channels = width
        for stage, depth in enumerate(depths):
            for i in range(depth):
                stride = 2 if stage and i == 0 else 1
                convolutions = shapes(channels, width * 2**stage, stride)
                self.blocks.append(Residual(convolutions, stride))
                channels = convolutions[-1][1]
        self.head = nn.Linear(channels, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images ``[N, 3, H, W]`` to logits."""
        h = torch.relu(self.stem(x))
        for block in self.blocks:
            h = block(h)
        return self.head(h.mean((2, 3)))


class PreActivationBlock(nn.Module):
    """s + conv(relu(conv(relu(x))))."""

    def __init__(self, fan_in: int, width: int, stride: int):
        super().__init__()
        self.first, self.second = conv(fan_in, width, 3, stride), conv(width, width)
        changes = stride > 1 or fan_in != width
        self.shortcut = conv(fan_in, width, 1, stride) if changes else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[N, C, H, W]``."""
        h = torch.relu(x)
        s = x if self.shortcut is None else self.shortcut(h)
        return s + self.second(torch.relu(self.first(h)))


class PreActivationResNet(nn.Module):
    """``experiments.models.resnet.PreActivationResNet``."""

    def __init__(self, width: int, classes: int = 10):
        super().__init__()
        self.stem, self.blocks, channels = conv(3, width), nn.ModuleList(), width
        for stage in range(4):
            for i in range(2):
                own, stride = width * 2**stage, 2 if stage and i == 0 else 1
                self.blocks.append(PreActivationBlock(channels, own, stride))
                channels = own
        self.head = nn.Linear(channels, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images ``[N, 3, H, W]`` to logits."""
        h = self.stem(x)
        for block in self.blocks:
            h = block(h)
        return self.head(h.mean((2, 3)))


class PreNormalised(nn.Module):
    """conv(relu(norm(x)))."""

    def __init__(self, fan_in: int, fan_out: int, size: int):
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(fan_in), conv(fan_in, fan_out, size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``[N, I, H, W]`` to ``[N, O, H, W]``."""
        return self.conv(torch.relu(self.norm(x)))


class DenseNet(nn.Module):
    """``experiments.models.densenet.DenseNet``."""

    def __init__(self, depths: Sequence[int], width: int, classes: int = 10):
        super().__init__()
        growth, channels = width // 2, width
        self.stem = conv(3, width)
        self.stages, self.transitions = nn.ModuleList(), nn.ModuleList()
        for stage, depth in enumerate(depths):
            if stage:
                self.transitions.append(PreNormalised(channels, channels // 2, 1))
                channels //= 2
            layers = nn.ModuleList()
            for _ in range(depth):
                narrow = PreNormalised(channels, 4 * growth, 1)
                layers.append(
                    nn.ModuleList([narrow, PreNormalised(4 * growth, growth, 3)])
                )
                channels += growth
            self.stages.append(layers)
        self.norm, self.head = nn.BatchNorm2d(channels), nn.Linear(channels, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images ``[N, 3, H, W]`` to logits."""
        h = self.stem(x)
        for s, layers in enumerate(self.stages):
            if s:
                h = nn.functional.avg_pool2d(self.transitions[s - 1](h), 2)
            for narrow, wide in layers:
                h = torch.cat([wide(narrow(h)), h], 1)
        return self.head(torch.relu(self.norm(h)).mean((2, 3)))


_NAMES = {"kernel": "weight", "scale": "weight"}


def as_torch(params: Mapping[Any, Any], prefix: str = "") -> dict[str, torch.Tensor]:
    """Our parameters, or their gradients, by PyTorch's names and in its layout."""
    found = {}
    for name, value in params.items():
        if isinstance(value, Mapping):
            found |= as_torch(value, f"{prefix}{name}.")
        else:
            array = np.asarray(value)
            axes = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[array.ndim]
            array = np.ascontiguousarray(array.transpose(axes))
            found[prefix + _NAMES.get(name, name)] = torch.from_numpy(array.copy())
    return found


def make_steps(
    model: nn.Module,
    images: np.ndarray,
    labels: np.ndarray,
    batch_size: int,
    learning_rate: float = 0.1,
) -> Callable[[int], list[float]]:
    """A function that trains for some steps on batches in order; losses before each.

    Args:
      model: of images ``[N, 3, H, W]``.
      images: normalised, channels last, as ours.
      labels: their classes.
      batch_size: images a step.
      learning_rate: of SGD with Nesterov's momentum .9 and decay 5e-4.
    """
    x = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    y = torch.from_numpy(labels.astype(np.int64))
    optimizer: Any = torch.optim.SGD(
        model.parameters(),
        lr=learning_rate,
        momentum=0.9,
        weight_decay=5e-4,
        nesterov=True,
    )
    batches = torch.split(torch.arange(len(x)), batch_size)

    def train(steps: int) -> list[float]:
        losses = []
        for step in range(steps):
            rows = batches[step % len(batches)]
            loss = nn.functional.cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    return train
