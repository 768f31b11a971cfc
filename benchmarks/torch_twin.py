"""The modular-arithmetic training step in plain PyTorch, to measure ours against.

The model, the filters and the optimizer of ``experiments`` as one would write them in
PyTorch: every position goes through every block, ``nn.MultiheadAttention`` with a
causal mask, gradients filtered parameter by parameter, Adam without ``foreach``.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

PRIME, WIDTH, HEADS, LAYERS, LENGTH = 97, 128, 4, 2, 4
BATCH = 512


class Block(nn.Module):
    """h ← LN(h); h ← h + Attention(h); h ← h + MLP(LN(h)), positions first."""

    def __init__(self) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, HEADS)
        self.norm_mlp = nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
        )

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """``[L, B, F]`` to the same."""
        mask = torch.ones(len(h), len(h), dtype=torch.bool, device=h.device).triu(1)
        h = self.norm_attention(h)
        h = h + self.attention(h, h, h, attn_mask=mask, need_weights=False)[0]
        return h + self.mlp(self.norm_mlp(h))


class Transformer(nn.Module):
    """The model of ``experiments.models.transformer``."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(PRIME + 2, WIDTH)
        self.positions = nn.Embedding(LENGTH + 1, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, PRIME + 2, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens ``[L, B]`` to logits ``[L, B, V]``."""
        positions = self.positions(torch.arange(len(tokens), device=tokens.device))[
            :, None
        ]
        return self.head(self.norm(self.blocks(self.tokens(tokens) + positions)))


Filter = Callable[[dict[str, torch.Tensor]], None]


def ema_filter(alpha: float = 0.98, lamb: float = 2.0) -> Filter:
    """Grokfast-EMA, started from the first gradient."""
    averages: dict[str, torch.Tensor] = {}

    def apply(gradients: dict[str, torch.Tensor]) -> None:
        for name, gradient in gradients.items():
            old = averages.get(name, gradient)
            averages[name] = alpha * old + (1 - alpha) * gradient
            gradient += lamb * averages[name]

    return apply


def ma_filter(window_size: int = 100, lamb: float = 5.0) -> Filter:
    """Grokfast-MA, off until the window is full: a queue of gradients, summed anew."""
    windows: dict[str, deque[torch.Tensor]] = {}

    def apply(gradients: dict[str, torch.Tensor]) -> None:
        for name, gradient in gradients.items():
            window = windows.setdefault(name, deque(maxlen=window_size))
            window.append(gradient.clone())
            if len(window) == window_size:
                gradient += lamb * (sum(window) / window_size)

    return apply


FILTERS: dict[str, Callable[[], Filter]] = {
    "none": lambda: lambda gradients: None,
    "ema": ema_filter,
    "ma": ma_filter,
}


def make_epochs(filter_name: str, place: str = "cpu") -> Callable[[int], None]:
    """A function that trains for some epochs of ten steps.

    Half of the table is for training, in batches of 512 and a last one of 48.
    """
    model = Transformer().to(place)
    optimizer: Any = torch.optim.Adam(
        model.parameters(), lr=1e-3, betas=(0.9, 0.98), foreach=False
    )
    apply_filter = FILTERS[filter_name]()
    x = torch.arange(PRIME).repeat_interleave(PRIME - 1)
    y = torch.arange(1, PRIME).repeat(PRIME)
    table = torch.stack(
        [x, torch.full_like(x, PRIME + 1), y, torch.full_like(x, PRIME), x * y % PRIME]
    )
    half = torch.randperm(table.shape[1])[: table.shape[1] // 2]
    training = table[:, half].to(place)

    def train(epochs: int) -> None:
        for _ in range(epochs):
            order = torch.randperm(training.shape[1], device=place)
            for batch in torch.split(training[:, order], BATCH, dim=1):
                logits = model(batch[:LENGTH])[-1]
                loss = nn.functional.cross_entropy(logits, batch[LENGTH])
                optimizer.zero_grad()
                loss.backward()
                apply_filter({n: p.grad for n, p in model.named_parameters()})
                optimizer.step()
        if place == "cuda":
            torch.cuda.synchronize()

    return train
