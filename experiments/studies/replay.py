"""Replay a recorded run of the published implementation through our training step.

A record (``.npz``) holds the initial parameters in PyTorch's layout (``param/NAME``),
the split (``split_perm``), the shuffles (``epoch_perms``, each applied to the order
left by the one before), the loss of every step (``step_loss``) and the validation
accuracy at the end of every epoch (``its``, ``val_acc``).
"""

import dataclasses
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.engine.train import TrainState, evaluate, run_chunk
from experiments.methods.optimizers import build_optimizer
from experiments.settings.config import (
    Config,
    FilterOptions,
    OptimizerOptions,
    TrainingOptions,
)
from experiments.tasks.modular import ModularTask

THRESHOLD = 0.95
"""Validation accuracy whose first step is compared."""


@dataclasses.dataclass(frozen=True)
class RecordedTask(ModularTask):
    """The modular task with split and batch order taken from ``data``."""

    def split(self, data: Any, key: jax.Array) -> tuple[Any, Any]:
        """The recorded split."""
        del key
        rows = data["split_perm"]
        table = {name: data[name][rows] for name in ("tokens", "answers")}
        return (
            jax.tree.map(lambda a: a[: self.train_size], table),
            jax.tree.map(lambda a: a[self.train_size :], table),
        )

    def order(self, data: Any, key: jax.Array, epoch: jax.Array, size: int):
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
    filter_options: FilterOptions,
    optimizer_options: OptimizerOptions,
    *,
    batch_size: int = 512,
    heads: int = 4,
    max_steps: int | None = None,
    on_evaluation: Callable[[dict[str, Any]], None] = lambda row: None,
) -> Replay:
    """Train from a record's start on its batches.

    Args:
      record: from :func:`load_record`.
      filter_options: the filter of the recorded run.
      optimizer_options: the optimizer of the recorded run.
      batch_size: rows per step of the recorded run.
      heads: attention heads of the recorded run.
      max_steps: replay only so many steps; by default all.
      on_evaluation: called with the metrics after every epoch.

    Raises:
      ValueError: the record does not fit the batch size or the number of heads.
    """
    steps = min(len(record["step_loss"]), max_steps or len(record["step_loss"]))
    config = _config(
        record, steps, batch_size, heads, filter_options, optimizer_options
    )
    hyper, static = config.traced(), config.static()
    data = _data(record, config.task)
    params = _params(record)
    opt_state = build_optimizer(static, hyper).init(params)
    state = TrainState(jnp.zeros([], jnp.int32), params, (), opt_state)

    epoch = -(-config.task.train_size // batch_size)
    losses, accuracies = [], []
    for start in range(0, steps, epoch):
        length = min(epoch, steps - start)
        state, log = run_chunk(static, length, hyper, data, state)
        metrics = evaluate(static, hyper, data, state)
        losses.append(np.asarray(log.loss))
        accuracies.append(float(metrics["validation_accuracy"]))
        on_evaluation({"step": start + length, **metrics})
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
      ValueError: the file is no such record.
    """
    try:
        with path.open("rb") as file, np.load(file) as archive:
            record = dict(archive)
    except (ValueError, TypeError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{path} is not an .npz record: {error}") from error
    wanted = {"split_perm", "epoch_perms", "step_loss", "its", "val_acc"}
    missing = sorted(wanted - record.keys())
    try:
        _params(record)
    except KeyError as error:
        missing.append(error.args[0])
    if missing:
        raise ValueError(f"{path} is not a parity record: no {', '.join(missing)}.")
    return record


def _config(
    record: dict[str, np.ndarray],
    steps: int,
    batch_size: int,
    heads: int,
    filter_options: FilterOptions,
    optimizer_options: OptimizerOptions,
) -> Config:
    vocabulary, width = record["param/token_embeddings.weight"].shape
    train_size = record["epoch_perms"].shape[1]
    task = RecordedTask(
        prime=vocabulary - 2,
        train_fraction=train_size / len(record["split_perm"]),
        width=width,
        layers=_layers(record),
        heads=heads,
    )
    if len(record["split_perm"]) != task.table_size:
        raise ValueError(
            f"the record's split has {len(record['split_perm'])} equations, "
            f"x·y mod {task.prime} has {task.table_size}."
        )
    steps_per_epoch = -(-train_size // batch_size)
    if len(record["its"]) and record["its"][0] != steps_per_epoch:
        raise ValueError(
            f"batch_size must give {record['its'][0]} steps per epoch as in the "
            f"record, got {batch_size}, which gives {steps_per_epoch}."
        )
    shuffled = len(record["epoch_perms"]) * steps_per_epoch
    if shuffled < steps:
        raise ValueError(
            f"the record has shuffles for {shuffled} steps only, not for {steps}."
        )
    training = TrainingOptions(batch_size=batch_size)
    return Config(task, filter_options, optimizer_options, training)


def _data(record: dict[str, np.ndarray], task: ModularTask) -> Any:
    orders = [np.arange(record["epoch_perms"].shape[1])]
    for shuffle in record["epoch_perms"]:  # each shuffles the current order
        orders.append(orders[-1][shuffle])
    return jax.device_put(
        task.load()
        | {"split_perm": record["split_perm"], "orders": np.stack(orders[1:])}
    )


def _params(record: dict[str, np.ndarray]) -> Any:
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
