"""The IMDb task in plain PyTorch, to measure ours against: ``nn.LSTM`` reads it all."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.torch_twin import FILTERS


class ReviewLstm(nn.Module):
    """The network of ``experiments.models.review_lstm``."""

    def __init__(self, tokens: int, embedding: int, width: int, layers: int):
        super().__init__()
        self.embedding = nn.Embedding(tokens, embedding)
        self.lstm = nn.LSTM(embedding, width, layers, batch_first=True)
        self.fc = nn.Linear(width, 1)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """``[B, T]`` to probabilities, ``[B]``."""
        outputs, _ = self.lstm(self.embedding(tokens))
        return torch.sigmoid(self.fc(outputs[:, -1]))[:, 0]


def make_steps(
    model: nn.Module,
    tokens: np.ndarray,
    labels: np.ndarray,
    *,
    batch_size: int = 50,
    scale: float = 6.0,
    weight_decay: float = 1.0,
    filter_name: str = "none",
) -> Callable[[int], list[float]]:
    """A function that does some steps and returns the loss of each.

    Epochs go on from call to call.
    """
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= scale
    optimizer: Any = torch.optim.AdamW(
        model.parameters(), lr=3e-4, weight_decay=weight_decay
    )
    apply_filter = FILTERS[filter_name]()
    x = torch.tensor(tokens.astype(np.int64))
    y = torch.tensor(labels.astype(np.float32))
    waiting: list[torch.Tensor] = []

    def train(count: int) -> list[float]:
        losses = []
        for _ in range(count):
            if not waiting:
                waiting.extend(torch.split(torch.randperm(len(x)), batch_size))
            rows = waiting.pop()
            loss = nn.functional.binary_cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            apply_filter({n: p.grad for n, p in model.named_parameters()})
            optimizer.step()
            losses.append(loss.item())
        return losses

    return train
