"""Replay a recorded run of the published implementation through our training step.

A record (``.npz``) holds the initial parameters in PyTorch's layout (``param/NAME``),
the split (``split_perm``), the shuffles (``epoch_perms``, each applied to the order
left by the one before), the loss of every step (``step_loss``) and the validation
accuracy at the end of every epoch (``its``, ``val_acc``).
"""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.engine.evaluate import evaluate
from experiments.engine.train import initialize, run_chunk
from experiments.methods.named import settings_of
from experiments.settings.options import options
from experiments.settings.task import Data, Key, ModelState, Params, Rows
from experiments.tasks.modular import ModularTask

THRESHOLD = 0.95
"""Validation accuracy whose first step is compared."""


class ReplayError(ValueError):
    """A file is no record, or it does not fit the settings; the message says why."""


@options
class RecordedTask(ModularTask):
    """The modular task with start, split and batch order taken from the data."""

    def splits(self, data: Data, key: Key) -> dict[str, Rows]:
        """The recorded split."""
        del key
        rows = data["split_perm"]
        return {"train": rows[: self.train_size], "validation": rows[self.train_size :]}

    def take(self, data: Data, rows: Rows) -> dict[str, jax.Array]:
        """Tokens and answers alone."""
        return {name: data[name][rows] for name in ("tokens", "answers")}

    def init(self, key: Key, data: Data) -> tuple[Params, ModelState]:
        """The recorded parameters."""
        del key
        return data["params"], ()

    def order(self, data: Data, key: Key, epoch: jax.Array, size: int) -> jax.Array:
        """The recorded order of an epoch."""
        del key, size
        return data["orders"][epoch]


class Replay(NamedTuple):
    """A replayed run beside its record, one entry a step or an evaluation."""

    step_loss: np.ndarray
    reference_step_loss: np.ndarray
    evaluated_steps: np.ndarray
    validation_accuracy: np.ndarray
    reference_validation_accuracy: np.ndarray

    def summary(self) -> dict[str, Any]:
        """Steps to 95 % of both, and the largest relative differences of the loss."""
        reference = self.reference_step_loss
        relative = np.abs(self.step_loss - reference) / np.abs(reference)
        steps = self.evaluated_steps
        return {
            "steps": len(self.step_loss),
            "steps_to_95": _first(steps, self.validation_accuracy),
            "reference_steps_to_95": _first(steps, self.reference_validation_accuracy),
            "max_rel_loss_100": float(relative[:100].max()),
            "max_rel_loss_400": float(relative[:400].max()),
        }


def replay(
    record: dict[str, np.ndarray],
    *,
    batch_size: int = 512,
    heads: int = 4,
    max_steps: int | None = None,
    on_evaluation: Callable[[dict[str, Any]], None] = lambda row: None,
    **methods: Any,
) -> Replay:
    """Train from a record's start on its batches.

    Args:
      record: from :func:`load_record`.
      batch_size: rows per step of the recorded run.
      heads: attention heads of the recorded run.
      max_steps: replay only so many steps; by default all.
      on_evaluation: called with the metrics after every epoch.
      **methods: filter and optimizer of the recorded run, with their options.

    Raises:
      ReplayError: the record does not fit the batch size or the number of heads.
    """
    steps = min(len(record["step_loss"]), max_steps or len(record["step_loss"]))
    task = _task(record, steps, batch_size, heads)
    config = settings_of(task, batch_size=batch_size, **methods).config.traced()
    data, epoch = _data(record, task), -(-task.train_size // batch_size)
    state, due = initialize(config, data), (True,) * len(config.measures)
    losses, accuracies = [], []
    for start in range(0, steps, epoch):
        length = min(epoch, steps - start)
        state, log = run_chunk(config, length, data, state)
        row = evaluate(config, data, state, due).row(due)
        losses.append(np.asarray(log.loss))
        accuracies.append(float(row["validation_accuracy"]))
        on_evaluation({"step": start + length, **row})
    evaluations = steps // epoch
    return Replay(
        np.concatenate(losses),
        record["step_loss"][:steps],
        record["its"][:evaluations],
        np.array(accuracies[:evaluations]),
        record["val_acc"][:evaluations],
    )


def _first(steps: np.ndarray, accuracy: np.ndarray) -> int | None:
    reached = np.flatnonzero(accuracy >= THRESHOLD)
    return int(steps[reached[0]]) if reached.size else None


def load_record(path: Path) -> dict[str, np.ndarray]:
    """Read a record.

    Raises:
      ReplayError: the file is no such record.
    """
    try:
        with path.open("rb") as file, np.load(file) as archive:
            record = dict(archive)
    except (ValueError, TypeError, zipfile.BadZipFile, EOFError) as error:
        raise ReplayError(f"{path} is not an .npz record: {error}") from error
    wanted = {"split_perm", "epoch_perms", "step_loss", "its", "val_acc"}
    missing = sorted(wanted - record.keys())
    try:
        _params(record)
    except KeyError as error:
        missing.append(error.args[0])
    if missing:
        raise ReplayError(f"{path} is not a parity record: no {', '.join(missing)}.")
    return record


def _task(
    record: dict[str, np.ndarray],
    steps: int,
    batch_size: int,
    heads: int,
) -> RecordedTask:
    vocabulary, width = record["param/token_embeddings.weight"].shape
    train_size = record["epoch_perms"].shape[1]
    try:
        task = RecordedTask(
            prime=vocabulary - 2,
            train_fraction=train_size / len(record["split_perm"]),
            width=width,
            layers=_layers(record),
            heads=heads,
        )
    except ValueError as error:
        raise ReplayError(str(error)) from None
    if len(record["split_perm"]) != task.table_size:
        raise ReplayError(
            f"the record's split has {len(record['split_perm'])} equations, "
            f"x·y mod {task.prime} has {task.table_size}."
        )
    steps_per_epoch = -(-train_size // batch_size)
    if len(record["its"]) and record["its"][0] != steps_per_epoch:
        raise ReplayError(
            f"batch_size must give {record['its'][0]} steps per epoch as in the "
            f"record, got {batch_size}, which gives {steps_per_epoch}."
        )
    shuffled = len(record["epoch_perms"]) * steps_per_epoch
    if shuffled < steps:
        raise ReplayError(
            f"the record has shuffles for {shuffled} steps only, not for {steps}."
        )
    return task


def _data(record: dict[str, np.ndarray], task: ModularTask) -> Data:
    orders = [np.arange(record["epoch_perms"].shape[1])]
    for shuffle in record["epoch_perms"]:  # each shuffles the current order
        orders.append(orders[-1][shuffle])
    return jax.device_put(
        task.load()
        | {"split_perm": record["split_perm"], "orders": np.stack(orders[1:])}
        | {"params": _params(record)}
    )


def _params(record: dict[str, np.ndarray]) -> Params:
    """The record's parameters under our names; linear weights are transposed."""

    def get(name: str) -> jax.Array:
        return jnp.asarray(record[f"param/{name}"])

    def linear(prefix: str) -> dict[str, jax.Array]:
        return {"kernel": get(f"{prefix}weight").T, "bias": get(f"{prefix}bias")}

    def norm(name: str) -> dict[str, jax.Array]:
        return {"scale": get(f"{name}.weight"), "bias": get(f"{name}.bias")}

    def block(name: str) -> dict[str, Any]:
        return {
            "norm_attention": norm(f"{name}.ln_1"),
            "attention": {
                "qkv": linear(f"{name}.attn.in_proj_"),
                "out": linear(f"{name}.attn.out_proj."),
            },
            "norm_mlp": norm(f"{name}.ln_2"),
            "mlp_in": linear(f"{name}.mlp.0."),
            "mlp_out": linear(f"{name}.mlp.2."),
        }

    return {
        "token_embedding": {"embedding": get("token_embeddings.weight")},
        "position_embedding": {"embedding": get("position_embeddings.weight")},
        "blocks": {i: block(f"layers.{i}") for i in range(_layers(record))},
        "norm": norm("ln_f"),
        "head": {"kernel": get("head.weight").T},
    }


def _layers(record: dict[str, np.ndarray]) -> int:
    return sum(name.endswith(".ln_1.weight") for name in record)
