"""Replay a recorded run of the published implementation through our training step.

A record (``.npz``) holds what a run of ours would draw: initial parameters in PyTorch's
layout (``param/NAME``), split and batches, and the losses that came of them.
The modules ``recorded_modular``, ``recorded_qm9`` and ``recorded_imdb`` beside this one
make tasks of the three kinds that there are.
"""

import dataclasses
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.engine.evaluate import evaluate
from experiments.engine.train import initialize, run_chunk
from experiments.methods.named import settings_of
from experiments.settings.measure import Measure
from experiments.settings.task import Data, Task

THRESHOLD = 0.95
"""Validation accuracy whose first step is compared."""


class ReplayError(ValueError):
    """A file is no record, or it does not fit the settings; the message says why."""


class Recorded(NamedTuple):
    """A recorded run.

    Attributes:
      task: with start, split and batch order from the data.
      data: of the task, on the device.
      batch_size: rows per step.
      epoch: steps between evaluations.
      step_loss: training loss of every step.
      columns: of the metrics at every evaluation, by our names.
      measures: that give those of them which are no scores.
    """

    task: Task
    data: Data
    batch_size: int
    epoch: int
    step_loss: np.ndarray
    columns: Mapping[str, np.ndarray]
    measures: tuple[Measure, ...] = ()


class Replay(NamedTuple):
    """A replayed run beside its record.

    Attributes:
      step_loss: of every step.
      reference_step_loss: the record's.
      epoch: steps between evaluations.
      columns: of the metrics, at every evaluation.
      reference_columns: the record's.
    """

    step_loss: np.ndarray
    reference_step_loss: np.ndarray
    epoch: int
    columns: Mapping[str, np.ndarray]
    reference_columns: Mapping[str, np.ndarray]

    def summary(self) -> dict[str, Any]:
        """What both came to, and the largest relative differences.

        Of an accuracy the first step at which it is 95 %, of all else the lowest.
        """
        reference = self.reference_step_loss
        relative = np.abs(self.step_loss - reference) / np.abs(reference)
        found: dict[str, Any] = {"steps": len(self.step_loss)}
        for name in self.columns:
            for prefix, columns in (
                ("", self.columns),
                ("reference_", self.reference_columns),
            ):
                if name == "validation_accuracy":
                    found[f"{prefix}steps_to_95"] = self._first(columns[name])
                else:
                    found[f"{prefix}lowest_{name}"] = _lowest(columns[name])
            if name != "validation_accuracy" and self.columns[name].size:
                found[f"max_rel_{name}"] = self._largest_difference(name)
        return found | {
            "max_rel_loss_100": float(relative[:100].max()),
            "max_rel_loss_400": float(relative[:400].max()),
            "max_rel_loss": float(relative.max()),
        }

    def _largest_difference(self, name: str) -> float:
        found, reference = self.columns[name], self.reference_columns[name]
        count = min(len(found), len(reference))
        return float(np.abs(found[:count] / reference[:count] - 1).max())

    def _first(self, accuracy: np.ndarray) -> int | None:
        reached = np.flatnonzero(accuracy >= THRESHOLD)
        return self.epoch * (int(reached[0]) + 1) if reached.size else None


def _lowest(values: np.ndarray) -> float | None:
    return float(values.min()) if values.size else None


def replay(
    recorded: Recorded,
    *,
    max_steps: int | None = None,
    on_evaluation: Callable[[dict[str, Any]], None] = lambda row: None,
    **methods: Any,
) -> Replay:
    """Train from a record's start on its batches.

    Args:
      recorded: the run.
      max_steps: replay only so many steps; by default all.
      on_evaluation: called with the metrics after every epoch.
      **methods: filter and optimizer of the recorded run, with their options.
    """
    task, data, epoch = recorded.task, recorded.data, recorded.epoch
    steps = min(len(recorded.step_loss), max_steps or len(recorded.step_loss))
    # The recorded parameters are those after the initial scaling.
    settings = settings_of(
        task, batch_size=recorded.batch_size, init_scale=1.0, **methods
    )
    config = dataclasses.replace(settings.config, measures=recorded.measures).traced()
    state, due = initialize(config, data), (True,) * len(recorded.measures)
    losses: list[np.ndarray] = []
    columns: dict[str, list[float]] = {name: [] for name in recorded.columns}
    for start in range(0, steps, epoch):
        length = min(epoch, steps - start)
        state, log = run_chunk(config, length, data, state)
        row = evaluate(config, data, state, due).row(due)
        losses.append(np.asarray(log.loss))
        for name, values in columns.items():
            values.append(float(row[name]))
        on_evaluation({"step": start + length, **row})
    whole = steps // epoch
    return Replay(
        np.concatenate(losses),
        recorded.step_loss[:steps],
        epoch,
        {name: np.array(values[:whole]) for name, values in columns.items()},
        {name: values[:whole] for name, values in recorded.columns.items()},
    )


def load_record(path: Path) -> dict[str, np.ndarray]:
    """Read a record.

    Raises:
      ReplayError: the file is no archive of arrays.
    """
    if not zipfile.is_zipfile(path):
        raise ReplayError(
            "this is no .npz file, the archive of arrays that numpy.savez writes; "
            "parity NAME.npz --make writes one from a run of ours."
        )
    try:
        with np.load(path) as archive:
            return dict(archive)
    except ValueError:  # NumPy advises to unpickle them
        raise ReplayError("it holds Python objects instead of arrays.") from None
    except (TypeError, zipfile.BadZipFile, EOFError) as error:
        raise ReplayError(f"this .npz file is damaged: {error}") from error


def check_settings(record: Mapping[str, np.ndarray], given: Mapping[str, Any]) -> None:
    """Check settings against those that a record says that its run had, if it does.

    They are the array ``settings``, a text: a JSON object of values by name.

    Raises:
      ReplayError: one differs.
    """
    try:
        settings = dict(json.loads(str(record.get("settings", "{}"))).items())
    except (ValueError, AttributeError) as error:
        raise ReplayError(f"its settings are no object of JSON: {error}") from None
    for name, recorded in settings.items():
        if name in given and given[name] != recorded:
            raise ReplayError(
                f"{name} must be {recorded!r} as in the record, got {given[name]!r}."
            )


def check_names(record: Mapping[str, np.ndarray], wanted: set[str]) -> None:
    """Raise ReplayError if a record lacks an array."""
    if missing := sorted(wanted - record.keys()):
        raise ReplayError(f"this is no parity record: no {', '.join(missing)}.")


def array(record: Mapping[str, np.ndarray], name: str) -> jax.Array:
    """A recorded parameter.

    Raises:
      ReplayError: the record lacks it.
    """
    check_names(record, {f"param/{name}"})
    return jax.numpy.asarray(record[f"param/{name}"])


def linear(
    record: Mapping[str, np.ndarray], prefix: str, *, bias: bool = True
) -> dict[str, jax.Array]:
    """A recorded linear layer under our names; PyTorch's kernel is transposed."""
    found = {"kernel": array(record, f"{prefix}weight").T}
    return found | ({"bias": array(record, f"{prefix}bias")} if bias else {})


def run_of_filter(record: dict[str, np.ndarray], filter: str) -> str:
    """Of the runs in a record that with a filter: its name begins with the filter's.

    Raises:
      ReplayError: there is none.
    """
    names = {name.split("/")[0] for name in record if name.endswith("/train_loss")}
    wanted = filter.split(":")[0]
    for name in sorted(names):
        if name.split("_")[0] == wanted:
            return name
    raise ReplayError(
        f"filter must be that of a run in the record, {', '.join(sorted(names))}, got "
        f"{filter!r}."
    )


def positions(rows: np.ndarray, split: np.ndarray) -> np.ndarray:
    """Where in a split some of its rows are."""
    by_number = np.argsort(split)
    return by_number[np.searchsorted(split[by_number], rows)].astype(np.int32)
