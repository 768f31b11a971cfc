"""Plays of Shakespeare, a character after another, learnt by a small GPT.

Source: the public code of nanoGPT, whose two published settings for this text are the
presets ``shakespeare-cpu``, the default, and ``shakespeare``. The first nine tenths of
the text are for training, in windows that start anywhere; the rest is for validation.
An example is a window, its loss the mean cross-entropy of the next token over the
window's positions.

Evaluations are of the whole validation text, window after window, and of as many
windows of the training text, evenly spread. nanoGPT's own are of 20 or 200 random
batches.
"""

import math
import warnings
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from experiments.data.encoding import BytePairs, Characters, Encoding
from experiments.data.source import DataError
from experiments.data.text import load_shakespeare, load_text
from experiments.models.gpt import GPT, Size
from experiments.settings.files import Files
from experiments.settings.milestone import Milestone
from experiments.settings.options import option, options
from experiments.settings.task import (
    Data,
    Examples,
    Key,
    ModelState,
    Outputs,
    Params,
    Rows,
)
from experiments.tasks.model_task import ModelTask

_TOO_MANY = 10
"""Rows of the table of tokens, for each character, that are no characters' table."""


@options
class GptTask(ModelTask):
    """The next character of Shakespeare's plays, or of any text, by a small GPT."""

    name: ClassVar[str] = "gpt"
    reads_files: ClassVar[bool] = True
    milestones: ClassVar[tuple[Milestone, ...]] = (
        Milestone(
            "t_loss_188",
            "validation_loss",
            1.88,
            "steps to validation loss 1.88",
            "validation 1.88",
            "P",
            lower_is_better=True,
        ),
    )
    milestone: ClassVar[str] = "min_validation_loss"
    evaluation_batch: ClassVar[int] = 16
    defaults: ClassVar[dict[str, Any]] = {
        "optimizer": "adamw",
        "weight_decay": 0.1,
        "decayed": "matrices",
        "beta2": 0.99,
        "clip_norm": 1.0,
        "warmup_steps": 100,
        "schedule": "cosine",
        "schedule_steps": 1900,
        "schedule_end": 0.1,
        "steps": 2000,
        "batch_size": 12,
        "eval_every": 250,
    }

    layers: int = option(4, "Blocks of the transformer.", minimum=1)
    heads: int = option(4, "Attention heads; must divide the width.", minimum=1)
    width: int = option(128, "Features of the transformer.", minimum=1)
    block: int = option(64, "Tokens of a window.", minimum=1)
    dropout: float = option(
        0.0,
        "Part dropped, in training, of embeddings, attention weights and what blocks "
        "add.",
        minimum=0.0,
        below=1.0,
    )
    bias: bool = option(False, "Biases in linear layers and LayerNorms.")
    vocabulary: int = option(
        65, "Rows of the table of tokens; Shakespeare's plays need 65.", minimum=2
    )
    text: str | None = option(
        None, "File of a text of your own, in UTF-8. [default: Shakespeare's plays]"
    )
    tokenizer: str | None = option(
        None,
        "Folder of a tokenizer of byte pairs: tokenizer.json, or vocab.json and "
        "merges.txt (needs tokenizers). [default: characters are tokens]",
    )

    def __post_init__(self) -> None:
        """Check what the ranges of single options cannot tell."""
        super().__post_init__()
        if self.width % self.heads:
            raise ValueError(
                f"heads must divide width = {self.width}, got {self.heads}."
            )

    @property
    def size(self) -> Size:
        """How large the model is."""
        names = ("vocabulary", "block", "layers", "heads", "width", "dropout", "bias")
        return Size(**{name: getattr(self, name) for name in names})

    def read(self, files: Files = Files()) -> str:
        """The text.

        Raises:
          DataError: it cannot be had.
        """
        if self.text is None:
            return load_shakespeare(files.data_dir, download=files.download)
        return load_text(self.text)

    def encoding(self, text: str) -> Encoding:
        """What makes tokens of the text."""
        if self.tokenizer is None:
            return Characters(text)
        return BytePairs(self.tokenizer)

    def load(self, files: Files = Files()) -> dict[str, np.ndarray]:
        """``tokens [N]`` of the whole text, unsigned.

        Raises:
          DataError: the text cannot be had, is too short, or has more tokens than the
            vocabulary.
        """
        text = self.read(files)
        encoding = self.encoding(text)
        if encoding.size > self.vocabulary:
            raise DataError(
                f"vocabulary must be ≥ {encoding.size}, the tokens that there are, got "
                f"{self.vocabulary}."
            )
        if self.tokenizer is None and self.vocabulary > _TOO_MANY * encoding.size:
            warnings.warn(
                f"vocabulary is {self.vocabulary:,}, the text has {encoding.size} "
                "characters, which are the tokens: byte pairs need --tokenizer.",
                stacklevel=2,
            )
        tokens = encoding.encode(text)
        shortest = len(tokens) - _train_size(tokens)
        if shortest <= self.block:
            raise DataError(
                f"the text has {len(tokens):,} tokens, a tenth of them to validate: a "
                f"block of {self.block} needs {10 * self.block + 10:,}."
            )
        return {"tokens": tokens}

    def splits(self, data: Data, key: Key) -> dict[str, Rows]:
        """Where windows start: anywhere in the first nine tenths, or one by one."""
        del key
        tokens, block = data["tokens"], self.block
        border = _train_size(tokens)
        return {
            "train": jnp.arange(border - block),
            "validation": jnp.arange(border, len(tokens) - block, block),
        }

    def scored(self, splits: dict[str, Rows]) -> dict[str, Rows]:
        """All validation windows, and as many to train on, evenly spread."""
        train, count = splits["train"], len(splits["validation"])
        return splits | {"train": train[:: len(train) // count][:count]}

    def order(self, data: Data, key: Key, epoch: jax.Array, size: int) -> jax.Array:
        """Drawn with replacement, as nanoGPT draws: 3 ms, a permutation takes 440."""
        del data
        key = jax.random.fold_in(key, epoch)
        return jax.random.randint(key, (size,), 0, size, jnp.int32)

    def take(self, data: Data, rows: Rows) -> Examples:
        """``tokens [n, block]``, and ``next [n, block]``, those one further on."""
        within = jnp.arange(self.block + 1)
        windows = data["tokens"][rows[:, None] + within[None]].astype(jnp.int32)
        return {"tokens": windows[:, :-1], "next": windows[:, 1:]}

    def forward(
        self,
        params: Params,
        model_state: ModelState,
        examples: Examples,
        key: Key | None,
        *,
        train: bool,
    ) -> tuple[Outputs, ModelState]:
        """Logits of the next tokens, ``[n, L, vocabulary]``."""
        logits, model_state = self.apply_with_state(
            params,
            model_state,
            examples["tokens"],
            train=train,
            rngs=None if key is None else nnx.Rngs(dropout=key),
        )
        return Outputs(logits), model_state

    def losses(self, outputs: Outputs, examples: Examples) -> jax.Array:
        """Mean cross-entropy of each window's next tokens, in nats."""
        each = optax.softmax_cross_entropy_with_integer_labels(
            outputs.prediction, examples["next"]
        )
        return jnp.mean(each, axis=-1)

    def values(self, outputs: Outputs, examples: Examples) -> dict[str, jax.Array]:
        """Loss of each window, and the part of its tokens that were the likeliest."""
        correct = jnp.argmax(outputs.prediction, axis=-1) == examples["next"]
        accuracy = jnp.mean(correct, axis=-1, dtype=outputs.prediction.dtype)
        return super().values(outputs, examples) | {"accuracy": accuracy}

    def score(self, values: dict[str, jax.Array], dtype: Any) -> dict[str, jax.Array]:
        """Means, and the loss in bits, of a character unless there is a tokenizer."""
        scores = super().score(values, dtype)
        unit = "character" if self.tokenizer is None else "token"
        return scores | {f"bits_per_{unit}": scores["loss"] / math.log(2)}

    def model(self, rngs: nnx.Rngs) -> nnx.Module:
        """The transformer."""
        return GPT(self.size, rngs=rngs)


def _train_size(tokens: np.ndarray | jax.Array) -> int:
    """Tokens to train on, as nanoGPT cuts them."""
    return int(0.9 * len(tokens))
