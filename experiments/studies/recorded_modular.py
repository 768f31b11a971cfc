"""Recorded runs of modular arithmetic as tasks.

Their arrays: the split (``split_perm``), the shuffles (``epoch_perms``, each applied to
the order left by the one before), the loss of every step (``step_loss``) and the
validation accuracy at the end of every epoch (``its``, ``val_acc``); in ours the
settings too (``settings``, JSON).
"""

from typing import Any

import jax
import numpy as np

from experiments.settings.options import options
from experiments.settings.task import Data, Key, ModelState, Params, Rows
from experiments.studies.replay import (
    Recorded,
    ReplayError,
    array,
    check_names,
    check_settings,
    linear,
)
from experiments.tasks.modular import ModularTask


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


def recorded_modular(
    record: dict[str, np.ndarray],
    *,
    batch_size: int = 512,
    heads: int = 4,
    max_steps: int | None = None,
) -> Recorded:
    """The run of a record.

    Args:
      record: its arrays.
      batch_size: rows per step of the recorded run.
      heads: its attention heads.
      max_steps: how many of its steps are to be replayed; by default all.

    Raises:
      ReplayError: the record lacks something, or does not fit the batch size or the
        number of heads.
    """
    check_names(record, {"split_perm", "epoch_perms", "step_loss", "its", "val_acc"})
    check_settings(record, {"batch_size": batch_size, "heads": heads})
    params = _params(record)
    steps = min(len(record["step_loss"]), max_steps or len(record["step_loss"]))
    task = _task(record, steps, batch_size, heads)
    return Recorded(
        task,
        _data(record, task, params),
        batch_size,
        -(-task.train_size // batch_size),
        record["step_loss"],
        {"validation_accuracy": record["val_acc"]},
    )


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
    epochs, every = len(record["epoch_perms"]), len(record["step_loss"])
    if not len(record["its"]) and -(-every // steps_per_epoch) != epochs:
        raise ReplayError(
            f"batch_size must make {epochs} epochs of {every} steps as in the record, "
            f"got {batch_size}, which gives {steps_per_epoch} steps per epoch."
        )
    shuffled = epochs * steps_per_epoch
    if shuffled < steps:
        raise ReplayError(
            f"the record has shuffles for {shuffled} steps only, not for {steps}."
        )
    return task


def _data(record: dict[str, np.ndarray], task: ModularTask, params: Params) -> Data:
    orders = [np.arange(record["epoch_perms"].shape[1])]
    for shuffle in record["epoch_perms"]:  # each shuffles the current order
        orders.append(orders[-1][shuffle])
    return jax.device_put(
        task.load()
        | {"split_perm": record["split_perm"], "orders": np.stack(orders[1:])}
        | {"params": params}
    )


def _params(record: dict[str, np.ndarray]) -> Params:
    """The record's parameters under our names."""

    def norm(name: str) -> dict[str, jax.Array]:
        scale, bias = (array(record, f"{name}.{part}") for part in ("weight", "bias"))
        return {"scale": scale, "bias": bias}

    def block(name: str) -> dict[str, Any]:
        return {
            "norm_attention": norm(f"{name}.ln_1"),
            "attention": {
                "qkv": linear(record, f"{name}.attn.in_proj_"),
                "out": linear(record, f"{name}.attn.out_proj."),
            },
            "norm_mlp": norm(f"{name}.ln_2"),
            "mlp_in": linear(record, f"{name}.mlp.0."),
            "mlp_out": linear(record, f"{name}.mlp.2."),
        }

    return {
        "token_embedding": {"embedding": array(record, "token_embeddings.weight")},
        "position_embedding": {
            "embedding": array(record, "position_embeddings.weight")
        },
        "blocks": {i: block(f"layers.{i}") for i in range(_layers(record))},
        "norm": norm("ln_f"),
        "head": linear(record, "head.", bias=False),
    }


def _layers(record: dict[str, np.ndarray]) -> int:
    return sum(name.endswith(".ln_1.weight") for name in record)
