"""Recorded runs of QM9 as tasks.

Their arrays: the molecules of the halves (``train``, ``val``), their orders in every
epoch (``order_train``, ``order_val``: a batch of 32, then one of 18), and for several
runs from one start, ``none/`` and ``ema_wd001/``, the losses of every batch
(``train_loss``, ``val_loss``) and the mean of the validation half (``val_avg_loss``).
"""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from experiments.methods.batches import BatchQuotient
from experiments.models.edge_network import Graphs
from experiments.settings.files import Files
from experiments.settings.measure import Measure, Point
from experiments.settings.options import options
from experiments.settings.task import Data, Key, ModelState, Params, Rows
from experiments.studies.replay import (
    Recorded,
    array,
    check_names,
    linear,
    positions,
    run_of_filter,
)
from experiments.tasks.qm9 import Qm9Task

BATCH = 32


@options
class RecordedMolecules(Qm9Task):
    """The QM9 task with start, split and batch order taken from the data."""

    def splits(self, data: Data, key: Key) -> dict[str, Rows]:
        """The recorded halves."""
        del key
        return {"train": data["train"], "validation": data["val"]}

    def take(self, data: Data, rows: Rows) -> dict[str, jax.Array]:
        """Graphs and targets alone."""
        return {name: data[name][rows] for name in (*Graphs._fields, "alpha")}

    def init(self, key: Key, data: Data) -> tuple[Params, ModelState]:
        """The recorded parameters."""
        del key
        return data["params"], ()

    def order(self, data: Data, key: Key, epoch: jax.Array, size: int) -> jax.Array:
        """The recorded order of an epoch."""
        del key, size
        return data["order_train"][epoch]


@options
class RecordedBatch(Measure):
    """:class:`BatchQuotient` of the first validation batch of the recorded epoch."""

    name: ClassVar[str] = "recorded_batch"

    def __call__(self, point: Point) -> dict[str, jax.Array]:
        """Under the same name."""
        epochs = point.step // _steps_per_epoch(point.data["train"])
        batch = point.data["order_val"][epochs - 1, :BATCH]
        losses = point.values["validation"]["loss"]
        return {BatchQuotient.name: jnp.mean(losses[batch]) / BATCH}


def is_of_qm9(record: dict[str, np.ndarray]) -> bool:
    """Whether a record is of this kind."""
    return "order_train" in record


def recorded_qm9(
    record: dict[str, np.ndarray], filter: str, files: Files = Files()
) -> Recorded:
    """The run of a record that was made with a filter.

    Args:
      record: its arrays.
      filter: ``none``, or methods such as ``ema``.
      files: where the molecules are.

    Raises:
      ReplayError: the record lacks something, or has no such run.
      DataError: the molecules cannot be had.
    """
    run = run_of_filter(record, filter)
    losses = {name: f"{run}/{name}" for name in ("train_loss", "val_loss")}
    mean = f"{run}/val_avg_loss"
    halves = {"train", "val", "order_train", "order_val"}
    check_names(record, {*halves, *losses.values(), mean})
    task = RecordedMolecules(molecules=len(record["train"]) + len(record["val"]))
    epoch = _steps_per_epoch(record["train"])
    data = task.load(files) | {
        "train": record["train"].astype(np.int32),
        "val": record["val"].astype(np.int32),
        "order_train": positions(record["order_train"], record["train"]),
        "order_val": positions(record["order_val"], record["val"]),
        "params": _params(record),
    }
    return Recorded(
        task,
        jax.device_put(data),
        BATCH,
        epoch,
        record[losses["train_loss"]],
        {
            "validation_loss": record[mean],
            BatchQuotient.name: record[losses["val_loss"]][::epoch] / BATCH,
        },
        (RecordedBatch(),),
    )


def _steps_per_epoch(half: np.ndarray | jax.Array) -> int:
    return -(-len(half) // BATCH)


def _params(record: dict[str, np.ndarray]) -> Params:
    """The record's parameters under our names."""

    def convolution(name: str) -> Params:
        return {
            "edge_in": linear(record, f"{name}.nn.0."),
            "edge_out": linear(record, f"{name}.nn.2."),
            "root": linear(record, f"{name}.lin.", bias=False),
            "bias": array(record, f"{name}.bias"),
        }

    return {
        "convolution_1": convolution("conv1"),
        "convolution_2": convolution("conv2"),
        "hidden": linear(record, "fc_1."),
        "head": linear(record, "out."),
    }
