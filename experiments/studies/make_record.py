"""A run of ours as a record that ``parity`` replays: as other programs write one."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.engine.evaluate import evaluate
from experiments.engine.state import Keys
from experiments.engine.train import initialize, run_chunk
from experiments.files import json_text
from experiments.methods.named import FILTERS, OPTIMIZERS, settings_of
from experiments.settings.flat import values_of
from experiments.settings.task import Params
from experiments.tasks.modular import ModularTask


def make_record(
    task: ModularTask,
    steps: int,
    *,
    batch_size: int = 512,
    on_evaluation: Callable[[dict[str, Any]], None] = lambda row: None,
    **methods: Any,
) -> dict[str, np.ndarray]:
    """Arrays as :func:`experiments.studies.recorded_modular.recorded_modular` reads.

    Args:
      task: of the run, whose seed is 0.
      steps: to train.
      batch_size: rows per step.
      on_evaluation: called with the metrics after every epoch.
      **methods: filter and optimizer, with their options.
    """
    settings = settings_of(task, batch_size=batch_size, measures="none", **methods)
    config, data, keys = settings.config.traced(), task.load(), Keys.from_seed(0)
    state = initialize(config, data)
    split, size = task.splits(data, keys.split), task.train_size
    epoch = -(-size // batch_size)
    starts = range(0, steps, epoch)
    epochs = jnp.arange(len(starts))
    orders = [np.asarray(task.order(data, keys.order, e, size)) for e in epochs]
    record = _named(jax.device_get(state.params)) | {
        "settings": np.array(json_text(_compared(values_of(settings)))),
        "split_perm": np.concatenate([split["train"], split["validation"]]),
        "epoch_perms": np.stack(_shuffles(orders)),
        "its": np.arange(epoch, steps + 1, epoch),
    }
    losses, accuracies = [], []
    for start in starts:
        length = min(epoch, steps - start)
        state, log = run_chunk(config, length, data, state)
        row = evaluate(config, data, state, ()).row(())
        losses.append(np.asarray(log.loss))
        accuracies.append(float(row["validation_accuracy"]))
        on_evaluation({"step": start + length, **row})
    return record | {
        "step_loss": np.concatenate(losses),
        "val_acc": np.array(accuracies[: len(record["its"])]),
    }


def _compared(values: dict[str, Any]) -> dict[str, Any]:
    """Of a run's settings those that the verb ``parity`` is given."""
    methods = {
        field.name
        for cls in (*FILTERS.values(), *OPTIMIZERS.values())
        for field in cls.fields()
    }
    names = {"batch_size", "heads", "filter", "optimizer", *methods}
    return {name: value for name, value in values.items() if name in names}


def _shuffles(orders: list[np.ndarray]) -> list[np.ndarray]:
    """What makes each order of the one before it."""
    before = [np.arange(len(orders[0])), *orders]
    return [np.argsort(a)[b] for a, b in zip(before, orders, strict=False)]


def _named(params: Params) -> dict[str, np.ndarray]:
    """Parameters by PyTorch's names; its kernels are transposed."""
    found: dict[str, np.ndarray] = {}

    def put(name: str, layer: Params) -> None:
        for part, values in layer.items():
            ending = "bias" if part == "bias" else "weight"
            transposed = values.T if part == "kernel" else values
            found[f"param/{name}{ending}"] = np.ascontiguousarray(transposed)

    put("token_embeddings.", params["token_embedding"])
    put("position_embeddings.", params["position_embedding"])
    for i, block in params["blocks"].items():
        put(f"layers.{i}.ln_1.", block["norm_attention"])
        put(f"layers.{i}.attn.in_proj_", block["attention"]["qkv"])
        put(f"layers.{i}.attn.out_proj.", block["attention"]["out"])
        put(f"layers.{i}.ln_2.", block["norm_mlp"])
        put(f"layers.{i}.mlp.0.", block["mlp_in"])
        put(f"layers.{i}.mlp.2.", block["mlp_out"])
    put("ln_f.", params["norm"])
    put("head.", params["head"])
    return found
