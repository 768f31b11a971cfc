"""The MNIST and QM9 tasks in plain PyTorch, to measure ours against.

The models of ``experiments`` as one would write them in PyTorch. The graph network
works edge by edge, as PyTorch Geometric does: the edge network makes a matrix for every
edge of the batch, and the messages are summed by ``index_add_``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from benchmarks.torch_twin import FILTERS


class Molecule(NamedTuple):
    """A molecule, or several as one graph: ``owner`` tells whose node is whose."""

    x: torch.Tensor
    edge_index: torch.Tensor
    edge_attr: torch.Tensor
    owner: torch.Tensor
    alpha: torch.Tensor


class EdgeConvolution(nn.Module):
    """y_v = b + R x_v + Σ over edges u → v of A(e) x_u."""

    def __init__(self, fan_in: int, fan_out: int, edge_features: int):
        super().__init__()
        self.shape = fan_in, fan_out
        self.edge_network = nn.Sequential(
            nn.Linear(edge_features, 32), nn.ReLU(), nn.Linear(32, fan_in * fan_out)
        )
        self.root = nn.Linear(fan_in, fan_out, bias=False)
        self.bias = nn.Parameter(torch.zeros(fan_out))

    def forward(
        self, x: torch.Tensor, edge_index: torch.Tensor, edge_attr: torch.Tensor
    ) -> torch.Tensor:
        """``[nodes, I]`` to ``[nodes, O]``."""
        source, target = edge_index
        matrices = self.edge_network(edge_attr).view(-1, *self.shape)
        messages = torch.matmul(x[source, None], matrices)[:, 0]
        received = torch.zeros(len(x), self.shape[1], dtype=x.dtype)
        received.index_add_(0, target, messages)
        return self.root(x) + received + self.bias


class EdgeNetwork(nn.Module):
    """The network of ``experiments.models.edge_network``."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution_1 = EdgeConvolution(11, 32, 4)
        self.convolution_2 = EdgeConvolution(32, 16, 4)
        self.hidden = nn.Linear(16, 32)
        self.head = nn.Linear(32, 1)

    def forward(self, molecules: Molecule) -> torch.Tensor:
        """A number for each molecule."""
        x, *edges = molecules[:3]
        x = torch.relu(self.convolution_1(x, *edges))
        x = torch.relu(self.convolution_2(x, *edges))
        pooled = torch.zeros(len(molecules.alpha), x.shape[1], dtype=x.dtype)
        pooled.index_add_(0, molecules.owner, x)
        return self.head(torch.relu(self.hidden(pooled)))[:, 0]


def mlp() -> nn.Module:
    """The MLP 784-200-200-10."""
    return nn.Sequential(
        nn.Linear(784, 200),
        nn.ReLU(),
        nn.Linear(200, 200),
        nn.ReLU(),
        nn.Linear(200, 10),
    )


def molecules(data: Mapping[str, np.ndarray]) -> list[Molecule]:
    """Single molecules from the arrays of ``load_qm9``."""
    result = []
    for m, alpha in enumerate(data["alpha"]):
        nodes, edges = (
            slice(*data[name][m : m + 2]) for name in ("node_ptr", "edge_ptr")
        )
        x = torch.tensor(data["x"][nodes], dtype=torch.float32)
        result.append(
            Molecule(
                x,
                torch.tensor(data["edge_index"][:, edges], dtype=torch.int64),
                torch.tensor(data["edge_attr"][edges], dtype=torch.float32),
                torch.zeros(len(x), dtype=torch.int64),
                torch.tensor([float(alpha)]),
            )
        )
    return result


def collate(parts: Sequence[Molecule]) -> Molecule:
    """Several molecules as one graph."""
    x, edge_index, edge_attr, _, alpha = zip(*parts, strict=True)
    counts = torch.tensor([len(nodes) for nodes in x])
    first = [0, *counts.cumsum(0).tolist()[:-1]]
    shifted = [edges + start for edges, start in zip(edge_index, first, strict=True)]
    owner = torch.repeat_interleave(torch.arange(len(parts)), counts)
    return Molecule(
        torch.cat(x),
        torch.cat(shifted, 1),
        torch.cat(edge_attr),
        owner,
        torch.cat(alpha),
    )


Loss = Callable[[nn.Module, list[int]], torch.Tensor]


def mnist_loss(images: np.ndarray, labels: np.ndarray) -> Loss:
    """Loss of a model on the examples of some indices."""
    x = torch.tensor(images.reshape(len(images), -1), dtype=torch.float32) / 255
    y = torch.eye(10)[torch.tensor(labels.astype(np.int64))]
    return lambda model, rows: nn.functional.mse_loss(model(x[rows]), y[rows])


def qm9_loss(data: Mapping[str, np.ndarray]) -> Loss:
    """Loss of a model on the molecules of some indices."""
    every = molecules(data)

    def loss(model: nn.Module, rows: list[int]) -> torch.Tensor:
        batch = collate([every[row] for row in rows])
        return nn.functional.mse_loss(model(batch), batch.alpha)

    return loss


def make_epochs(
    model: nn.Module,
    loss_of: Loss,
    examples: int,
    batch_size: int,
    scale: float,
    weight_decay: float,
    filter_name: str = "none",
) -> Callable[[int], list[float]]:
    """A function that trains for some epochs and returns the loss of every step."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= scale
    optimizer: Any = torch.optim.AdamW(
        model.parameters(), lr=1e-3, weight_decay=weight_decay
    )
    apply_filter = FILTERS[filter_name]()

    def train(epochs: int) -> list[float]:
        losses = []
        for _ in range(epochs):
            for rows in torch.split(torch.randperm(examples), batch_size):
                loss = loss_of(model, rows.tolist())
                optimizer.zero_grad()
                loss.backward()
                apply_filter({n: p.grad for n, p in model.named_parameters()})
                optimizer.step()
                losses.append(loss.item())
        return losses

    return train
