"""Fine-tuning of a pretrained encoder on GLUE: SST-2, MRPC, QNLI, MNLI.

Sources: Wang et al., GLUE (arXiv 1804.07461); Devlin et al., BERT (arXiv 1810.04805),
whose settings the defaults follow: AdamW with a learning rate that rises for a tenth of
the steps and falls to zero, batches of 32, dropout of .1. BERT's own code spares biases
and LayerNorms the decay, has an ε of 1e-6 and clips gradients to a norm of 1; here all
is decayed, ε is Optax's 1e-8 and --clip-norm is yours to give. All weights are trained,
from those of the encoder; the classifier alone is drawn with the seed.

A batch is cut to one of a few lengths, the smallest that its longest example fits: a
branch around the whole step, so that the padding beyond is never computed. For short
batches to be frequent, examples of about the same length come in one batch.
"""

import functools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from experiments.data.encoder import (
    PACKAGE,
    encoder_folder,
    read_config,
    read_pooling,
    read_weights,
    tokenize,
)
from experiments.data.glue import CORPORA, load_glue
from experiments.data.source import DataError
from experiments.models.bert import Bert
from experiments.models.bert_sizes import BertSizes
from experiments.models.bert_weights import parameters_of
from experiments.models.dropout import Dropout
from experiments.settings.files import Files
from experiments.settings.milestone import GENERALISED_95_OF_BEST, Milestone
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
from experiments.tasks.lengths import cut_lengths, grouped, on_length
from experiments.tasks.model_task import ModelTask
from experiments.tasks.scores import Binary

T = TypeVar("T")

_EXAMPLE = "tokens", "lengths", "first_lengths", "labels"
_SCORED = 512
"""Training examples that evaluations are of."""


@options
class GlueTask(ModelTask):
    """Classes of English sentences, or pairs of them: a pretrained encoder's end."""

    name: ClassVar[str] = "glue"
    reads_files: ClassVar[bool] = True
    milestones: ClassVar[tuple[Milestone, ...]] = (GENERALISED_95_OF_BEST,)
    milestone: ClassVar[str] = "min_validation_loss"
    evaluation_batch: ClassVar[int] = 32
    defaults: ClassVar[dict[str, Any]] = {
        "optimizer": "adamw",
        "learning_rate": 5e-5,
        "weight_decay": 0.01,
        "beta2": 0.999,
        "schedule": "linear",
        "warmup_steps": 200,
        "schedule_steps": 1800,
        "steps": 2000,
        "batch_size": 32,
        "eval_every": 200,
    }

    corpus: str = option("sst2", "Part of GLUE.", choices=tuple(CORPORA))
    encoder: str = option(
        PACKAGE,
        "Folder of a BERT-shaped encoder (config.json, model.safetensors, "
        "tokenizer.json), or the package that has one.",
    )
    pooling: str = option(
        "encoder",
        "What the classifier sees: BERT's first position, through its pooler; the mean "
        "of all tokens; or as the encoder's folder says, in 1_Pooling/config.json.",
        choices=("encoder", "first", "mean"),
    )
    max_length: int = option(128, "Tokens of an example, at most.", minimum=8)
    dropout: float = option(
        0.1, "Dropout of activations in training.", minimum=0.0, below=1.0
    )
    attention_dropout: float = option(
        0.1, "Dropout of attention weights in training.", minimum=0.0, below=1.0
    )
    length_group: int = option(
        32,
        "Examples of about the same length that come together: a batch of them. "
        "1: in random order.",
        minimum=1,
    )
    lengths: int = option(
        6,
        "Lengths that batches are cut to, each √2 times the one before; 1: none is "
        "cut. Each is compiled.",
        minimum=1,
        maximum=16,
    )

    def load(self, files: Files = Files()) -> Data:
        """Examples, the rows of the splits among them, and the encoder's weights.

        ``tokens [n, longest]`` with zeros behind ``lengths [n]``; ``first_lengths``,
        tokens of the first sentence; ``labels``; ``rows``, by split; ``weights``, all
        parameters but the classifier's. Splits are in the order of lengths, so that
        batches of evaluations have little padding.
        """
        splits = load_glue(self.corpus, files.data_dir, download=files.download)
        if self.max_length > self.sizes.positions:
            raise DataError(
                f"max_length must be ≤ {self.sizes.positions}, the encoder's "
                f"positions, got {self.max_length}."
            )
        texts = [text for split in splits.values() for text in split.texts]
        tokens = tokenize(self._folder, texts, self.max_length)
        if (largest := tokens.ids.max()) >= self.sizes.vocabulary:
            raise DataError(
                f"{self._folder}: the tokenizer has the token {largest}, the encoder's "
                f"vocabulary ends before {self.sizes.vocabulary}."
            )
        rows, start = {}, 0
        for name, split in splits.items():
            rows[name] = np.arange(start, start := start + len(split.labels))
        by_length = [
            own[np.argsort(tokens.lengths[own], kind="stable")] for own in rows.values()
        ]
        order = np.concatenate(by_length)
        labels = np.concatenate([split.labels for split in splits.values()])
        return {
            "tokens": tokens.ids[order],
            "lengths": tokens.lengths[order],
            "first_lengths": tokens.first_lengths[order],
            "labels": labels[order],
            "rows": {name: own.astype(np.int32) for name, own in rows.items()},
            "weights": self._weights(),
        }

    def splits(self, data: Data, key: Key) -> dict[str, Rows]:
        """The same for every seed; MNLI has ``validation_mismatched`` too."""
        del key
        return {name: jnp.asarray(rows) for name, rows in data["rows"].items()}

    def scored(self, splits: dict[str, Rows]) -> dict[str, Rows]:
        """All to validate on; of those to train on every so manyth."""
        train = splits["train"]
        return splits | {"train": train[:: -(-len(train) // _SCORED)]}

    def take(self, data: Data, rows: Rows) -> Examples:
        """The examples of some rows; the weights are no part of them."""
        return {name: data[name][rows] for name in _EXAMPLE}

    def on_examples(
        self, function: Callable[[Examples], T], data: Data, rows: Rows
    ) -> T:
        """Apply to examples that are cut to the length that the longest needs."""
        examples = self.take(data, rows)
        tokens = examples["tokens"]
        choices = cut_lengths(tokens.shape[1], self.lengths)
        if len(rows) < self.length_group:  # the last of an epoch: not worth compiling
            choices = choices[-1:]

        def on(length: int) -> T:
            return function(examples | {"tokens": tokens[:, :length]})

        return on_length(on, examples["lengths"], choices)

    def order(self, data: Data, key: Key, epoch: jax.Array, size: int) -> jax.Array:
        """Random, but in groups of about the same length."""
        order = super().order(data, key, epoch, size)
        if self.length_group == 1:
            return order
        lengths = data["lengths"][:size]  # those to train on come first
        again = jax.random.fold_in(jax.random.fold_in(key, epoch), 1)
        return grouped(order, lengths, self.length_group, again)

    def init(self, key: Key, data: Data) -> tuple[Params, ModelState]:
        """The encoder's weights, and a classifier N(0, .02²)."""
        drawn, state = super().init(key, data)
        return drawn | jax.tree.map(jnp.asarray, data["weights"]), state

    def forward(
        self,
        params: Params,
        model_state: ModelState,
        examples: Examples,
        key: Key | None,
        *,
        train: bool,
    ) -> tuple[Outputs, ModelState]:
        """Logits of the classes, ``[n, C]``."""
        dropout = None
        if train and key is not None:
            dropout = Dropout(self.dropout, self.attention_dropout, key)
        tokens, lengths, first_lengths = (examples[name] for name in _EXAMPLE[:3])
        logits = self.apply(
            params, tokens.astype(jnp.int32), lengths, first_lengths, dropout
        )
        return Outputs(logits), model_state

    def losses(self, outputs: Outputs, examples: Examples) -> jax.Array:
        """Cross-entropy of each example."""
        return optax.softmax_cross_entropy_with_integer_labels(
            outputs.prediction, examples["labels"]
        )

    def values(self, outputs: Outputs, examples: Examples) -> dict[str, jax.Array]:
        """Cross-entropy and accuracy; of two classes what the other scores need."""
        found, labels = jnp.argmax(outputs.prediction, axis=-1), examples["labels"]
        values = super().values(outputs, examples) | {"accuracy": found == labels}
        if len(CORPORA[self.corpus].classes) == 2:
            values |= {"found": found == 1, "is_one": labels == 1}
        return values

    def score(self, values: dict[str, jax.Array], dtype: Any) -> dict[str, jax.Array]:
        """Mean loss and accuracy; of two classes also F1 and Matthews' correlation."""
        means = super().score(
            {name: values[name] for name in ("loss", "accuracy")}, dtype
        )
        if "found" not in values:
            return means
        binary = Binary.of(
            values["is_one"].astype(dtype), values["found"].astype(dtype)
        )
        return means | {"f1": binary.f1(), "matthews": binary.matthews()}

    def model(self, rngs: nnx.Rngs) -> nnx.Module:
        """The encoder with a classifier."""
        classes = len(CORPORA[self.corpus].classes)
        return Bert(self.sizes, classes, pooling=self.pools_by, rngs=rngs)

    @functools.cached_property
    def _folder(self) -> Path:
        return encoder_folder(self.encoder)

    @functools.cached_property
    def sizes(self) -> BertSizes:
        """Sizes of the encoder."""
        try:
            return BertSizes.of(read_config(self._folder))
        except ValueError as error:
            raise DataError(f"{self._folder}: {error}") from None

    @functools.cached_property
    def pools_by(self) -> str:
        """``"first"`` or ``"mean"``."""
        return read_pooling(self._folder) if self.pooling == "encoder" else self.pooling

    def _weights(self) -> dict[str, Any]:
        """The encoder's parameters."""
        path = self._folder / "model.safetensors"
        try:
            weights = parameters_of(read_weights(self._folder), self.sizes)
        except ValueError as error:
            raise DataError(f"{path}: {error}.") from None
        if self.pools_by == "mean":
            weights.pop("pooler", None)
        elif "pooler" not in weights:
            warnings.warn(
                f"{path} has no pooler: a new one is drawn with the seed.", stacklevel=3
            )
        return weights
