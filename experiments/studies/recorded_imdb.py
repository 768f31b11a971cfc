"""Recorded runs of IMDb as tasks.

Their arrays: the token numbers of the reviews (``ids``, ``labels``), the rows of the
split (``split_train``, ``split_val``), and for several runs from one start,
``none_wd1/`` and ``ema_wd10/``, rows of the batches (``batch``, ``val_batch``), the
losses of every training batch and, after the step, of one random validation batch
(``train_loss``, ``val_loss``), the gradient's norm before it is clipped
(``grad_norm``), and the norm of the weights after every tenth step
(``weight_norm_each_10``).
"""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from experiments.engine.objective import mean_loss
from experiments.methods.batches import RandomBatch
from experiments.methods.measures import WeightNorm
from experiments.methods.norms import norm
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
from experiments.tasks.imdb import ImdbTask

EPOCH = 10
"""Steps between evaluations: the norms are of every tenth."""


@options
class RecordedReviews(ImdbTask):
    """The IMDb task with tokens, split, start and batches taken from the data."""

    def splits(self, data: Data, key: Key) -> dict[str, Rows]:
        """The recorded split."""
        del key
        return {"train": data["train"], "validation": data["validation"]}

    def with_split(self, data: Data, splits: dict[str, Rows]) -> Data:
        """The recorded tokens."""
        del splits
        return data

    def take(self, data: Data, rows: Rows) -> dict[str, jax.Array]:
        """Tokens and labels alone."""
        return {name: data[name][rows] for name in ("tokens", "labels")}

    def init(self, key: Key, data: Data) -> tuple[Params, ModelState]:
        """The recorded parameters."""
        del key
        return data["params"], ()

    def order(self, data: Data, key: Key, epoch: jax.Array, size: int) -> jax.Array:
        """The recorded order of an epoch; beyond the record any."""
        del key, size
        return data["orders"][epoch]


@options
class RecordedBatches(Measure):
    """Loss of the recorded validation batch, and the norm of the next gradient."""

    name: ClassVar[str] = "recorded_batches"

    def __call__(self, point: Point) -> dict[str, jax.Array]:
        """The former under the name that :class:`RandomBatch` has for it."""
        data, task = point.data, point.task
        losses = point.values["validation"]["loss"]
        batch = data["val_batches"][point.step - 1]
        rows = data["next_batches"][point.step // EPOCH - 1]
        _, gradient = mean_loss(task).value_and_grad(
            point.params, point.model_state, task.take(data, rows), point.key
        )
        return {
            f"{RandomBatch.name}_loss": jnp.mean(losses[batch]),
            "next_gradient_norm": norm(gradient),
        }


def is_of_imdb(record: dict[str, np.ndarray]) -> bool:
    """Whether a record is of this kind."""
    return "ids" in record


def recorded_imdb(record: dict[str, np.ndarray], filter: str) -> Recorded:
    """The run of a record that was made with a filter.

    Args:
      record: its arrays.
      filter: ``none``, or methods such as ``ema``.

    Raises:
      ReplayError: the record lacks something, or has no such run.
    """
    run = run_of_filter(record, filter)
    names = ("batch", "val_batch", "train_loss", "val_loss", "grad_norm")
    own = {name: f"{run}/{name}" for name in (*names, "weight_norm_each_10")}
    check_names(record, {"ids", "labels", "split_train", "split_val", *own.values()})
    params = _params(record)
    tokens, embedding = params["embedding"].shape
    task = RecordedReviews(
        reviews=len(record["ids"]),
        vocabulary=tokens - 1,
        length=record["ids"].shape[1],
        embedding=embedding,
        width=len(params["head"]["kernel"]),
        layers=len(params["layers"]),
    )
    batches, train = record[own["batch"]], record["split_train"]
    steps, batch_size = batches.shape
    whole = steps // EPOCH
    data = {
        "tokens": record["ids"].astype(np.int32),
        "labels": record["labels"],
        "train": train.astype(np.int32),
        "validation": record["split_val"].astype(np.int32),
        "orders": _orders(positions(batches, train), len(train)),
        "val_batches": positions(record[own["val_batch"]], record["split_val"]),
        "next_batches": batches[EPOCH::EPOCH].astype(np.int32),
        "params": params,
    }
    columns = {
        f"{RandomBatch.name}_loss": record[own["val_loss"]][EPOCH - 1 :: EPOCH],
        "next_gradient_norm": record[own["grad_norm"]][EPOCH::EPOCH],
        "weight_norm": record[own["weight_norm_each_10"]],
    }
    return Recorded(
        task,
        jax.device_put(data),
        batch_size,
        EPOCH,
        record[own["train_loss"]],
        {name: values[:whole] for name, values in columns.items()},
        (WeightNorm(), RecordedBatches()),
    )


def _orders(batches: np.ndarray, size: int) -> np.ndarray:
    """The order of every epoch, from the positions of its batches, ``[steps, B]``.

    The last one is completed by what it lacks.
    """
    read = batches.ravel()
    epochs = [read[start : start + size] for start in range(0, len(read), size)]
    rest = np.setdiff1d(np.arange(size), epochs[-1])
    epochs[-1] = np.concatenate([epochs[-1], rest[: size - len(epochs[-1])]])
    return np.stack(epochs).astype(np.int32)


def _params(record: dict[str, np.ndarray]) -> Params:
    """The record's parameters under our names."""
    layers = 1 + max(
        int(name.rsplit("_l", 1)[1])
        for name in record
        if name.startswith("param/lstm.weight_ih_l")
    )
    return {
        "embedding": array(record, "embedding.weight"),
        "layers": {
            layer: {
                "input": array(record, f"lstm.weight_ih_l{layer}").T,
                "recurrent": array(record, f"lstm.weight_hh_l{layer}").T,
                "input_bias": array(record, f"lstm.bias_ih_l{layer}"),
                "recurrent_bias": array(record, f"lstm.bias_hh_l{layer}"),
            }
            for layer in range(layers)
        },
        "head": linear(record, "fc."),
    }
