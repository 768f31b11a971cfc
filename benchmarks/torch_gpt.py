"""A GPT in plain PyTorch, to measure ours against.

The model of ``experiments.models.gpt`` as one writes it in PyTorch, with its fused
attention and AdamW, and batches of random windows as nanoGPT draws them.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from experiments.models.gpt import Size


class Block(nn.Module):
    """h ← h + Attention(LN(h)); h ← h + MLP(LN(h)), examples first."""

    def __init__(self, size: Size):
        super().__init__()
        width, bias = size.width, size.bias
        self.heads, self.dropout = size.heads, size.dropout
        self.norm_attention = nn.LayerNorm(width, bias=bias)
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        self.out = nn.Linear(width, width, bias=bias)
        self.norm_mlp = nn.LayerNorm(width, bias=bias)
        self.mlp_in = nn.Linear(width, 4 * width, bias=bias)
        self.mlp_out = nn.Linear(4 * width, width, bias=bias)
        self.drop = nn.Dropout(size.dropout)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """``[B, L, F]`` to the same."""
        q, k, v = (
            each.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for each in self.qkv(self.norm_attention(h)).chunk(3, dim=2)
        )
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(
            q, k, v, is_causal=True, dropout_p=dropout
        )
        h = h + self.drop(self.out(mixed.transpose(1, 2).flatten(2)))
        return h + self.drop(self.mlp_out(F.gelu(self.mlp_in(self.norm_mlp(h)))))


class GPT(nn.Module):
    """The model, started as ours is."""

    def __init__(self, size: Size):
        super().__init__()
        self.tokens = nn.Embedding(size.vocabulary, size.width)
        self.positions = nn.Embedding(size.block, size.width)
        self.drop = nn.Dropout(size.dropout)
        self.blocks = nn.Sequential(*(Block(size) for _ in range(size.layers)))
        self.norm = nn.LayerNorm(size.width, bias=size.bias)
        residual = math.sqrt(2 * size.layers)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                into = name.endswith(("out.weight", "mlp_out.weight"))
                nn.init.normal_(parameter, std=0.02 / (residual if into else 1))
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens ``[B, L]`` to logits ``[B, L, V]``."""
        h = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        return self.norm(self.blocks(self.drop(h))) @ self.tokens.weight.T


def mean_loss(model: GPT, tokens: torch.Tensor, next: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of the next tokens."""
    return F.cross_entropy(model(tokens).flatten(0, 1), next.flatten())


def make_steps(size: Size, text: np.ndarray, batch: int) -> Callable[[int], float]:
    """A function that trains for some steps, and returns the last one's loss.

    Args:
      size: of the model.
      text: tokens to draw windows from.
      batch: windows a step.
    """
    model = GPT(size)
    decayed = [p for p in model.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decayed}, {"params": others, "weight_decay": 0.0}],
        lr=1e-3,
        betas=(0.9, 0.99),
        weight_decay=0.1,
    )
    tokens = torch.tensor(text.astype(np.int64))
    within = torch.arange(size.block + 1)

    def train(steps: int) -> float:
        for _ in range(steps):
            starts = torch.randint(len(tokens) - size.block, (batch, 1))
            windows = tokens[starts + within]
            loss = mean_loss(model, windows[:, :-1], windows[:, 1:])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        return loss.item()

    return train
