"""Fine-tuning of BERT in plain PyTorch, to measure ours against.

The model of ``experiments.models.bert`` as one would write it in PyTorch: every
position in every block, PyTorch's own scaled dot-product attention. Its modules have
the names of Hugging Face, so that an encoder's arrays are its state. Batches are padded
to their longest example.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from experiments.models.bert_sizes import BertSizes


class Embeddings(nn.Module):
    """Words, positions and types, normalised."""

    def __init__(self, sizes: BertSizes, dropout: float):
        super().__init__()
        self.word_embeddings = nn.Embedding(sizes.vocabulary, sizes.width)
        self.position_embeddings = nn.Embedding(sizes.positions, sizes.width)
        self.token_type_embeddings = nn.Embedding(sizes.types, sizes.width)
        self.LayerNorm = nn.LayerNorm(sizes.width, sizes.epsilon)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
        """``[B, L]`` to ``[B, L, F]``."""
        positions = self.position_embeddings(torch.arange(tokens.shape[1]))
        h = self.word_embeddings(tokens) + self.token_type_embeddings(types) + positions
        return self.dropout(self.LayerNorm(h))


class Projections(nn.Module):
    """Queries, keys and values, and what attention makes of them."""

    def __init__(self, sizes: BertSizes, dropout: float):
        super().__init__()
        self.heads, self.dropout = sizes.heads, dropout
        self.query, self.key, self.value = (
            nn.Linear(sizes.width, sizes.width) for _ in range(3)
        )

    def forward(self, h: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """``[B, L, F]`` to the same; ``mask [B, 1, 1, L]`` is true at tokens."""
        q, k, v = (
            layer(h).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        rate = self.dropout if self.training else 0.0
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, mask, rate)
        return mixed.transpose(1, 2).flatten(2)


class Added(nn.Module):
    """LN(h + dropout(W x + b))."""

    def __init__(self, fan_in: int, sizes: BertSizes, dropout: float):
        super().__init__()
        self.dense = nn.Linear(fan_in, sizes.width)
        self.LayerNorm = nn.LayerNorm(sizes.width, sizes.epsilon)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        """The new residual stream."""
        return self.LayerNorm(h + self.dropout(self.dense(x)))


class Block(nn.Module):
    """Attention and MLP, each normalised after its sum."""

    def __init__(self, sizes: BertSizes, dropout: float):
        super().__init__()
        self.attention = nn.ModuleDict(
            {
                "self": Projections(sizes, dropout),
                "output": Added(sizes.width, sizes, dropout),
            }
        )
        self.intermediate = nn.ModuleDict(
            {"dense": nn.Linear(sizes.width, sizes.inner)}
        )
        self.output = Added(sizes.inner, sizes, dropout)

    def forward(self, h: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """``[B, L, F]`` to the same."""
        h = self.attention["output"](self.attention["self"](h, mask), h)
        return self.output(nn.functional.gelu(self.intermediate["dense"](h)), h)


class Classifier(nn.Module):
    """The encoder and a classifier of its first position, or of the mean of all."""

    def __init__(
        self, sizes: BertSizes, classes: int, pooling: str, dropout: float = 0.1
    ):
        super().__init__()
        self.pooling = pooling
        self.embeddings = Embeddings(sizes, dropout)
        blocks = [Block(sizes, dropout) for _ in range(sizes.layers)]
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(blocks)})
        self.pooler = nn.ModuleDict({"dense": nn.Linear(sizes.width, sizes.width)})
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(sizes.width, classes)

    def forward(
        self, tokens: torch.Tensor, lengths: torch.Tensor, first_lengths: torch.Tensor
    ) -> torch.Tensor:
        """Logits ``[B, C]``."""
        places = torch.arange(tokens.shape[1])
        is_token = places < lengths[:, None]
        h = self.embeddings(tokens, (places >= first_lengths[:, None]).long())
        for block in self.encoder["layer"]:
            h = block(h, is_token[:, None, None])
        if self.pooling == "mean":
            pooled = (h * is_token[..., None]).sum(1) / lengths[:, None]
        else:
            pooled = torch.tanh(self.pooler["dense"](h[:, 0]))
        return self.classifier(self.dropout(pooled))


def load(model: nn.Module, arrays: Mapping[str, np.ndarray]) -> None:
    """Put an encoder's arrays into the model; the classifier stays as it is."""
    state = {name: torch.tensor(array) for name, array in arrays.items()}
    missing, _ = model.load_state_dict(state, strict=False)
    assert set(missing) <= {"classifier.weight", "classifier.bias"}, missing


def batch_of(examples: Mapping[str, Any]) -> tuple[torch.Tensor, ...]:
    """Tokens, lengths, lengths of first sentences and labels, of examples as ours."""
    lengths, first, labels = (
        torch.tensor(np.asarray(examples[name]).astype(np.int64))
        for name in ("lengths", "first_lengths", "labels")
    )
    tokens = np.asarray(examples["tokens"]).astype(np.int64)
    return torch.tensor(tokens[:, : int(lengths.max())]), lengths, first, labels


def make_steps(
    model: nn.Module, batches: Iterator[Mapping[str, Any]], **options: float
) -> Callable[[int], None]:
    """A function that trains for so many steps by AdamW, on the next batches."""
    optimizer = torch.optim.AdamW(model.parameters(), **options)  # type: ignore[arg-type]
    model.train()

    def train(steps: int) -> None:
        for _ in range(steps):
            *inputs, labels = batch_of(next(batches))
            loss = nn.functional.cross_entropy(model(*inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return train
