"""Fine-tuning steps of GLUE on real sentences, against a plain PyTorch twin."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from benchmarks import timing
from benchmarks.training_step import advancing
from experiments.data.encoder import encoder_folder, read_weights
from experiments.data.glue import CORPORA
from experiments.engine.programs import SingleRun
from experiments.engine.state import Keys, numerics_of
from experiments.methods.named import settings_of
from experiments.settings.task import Data
from experiments.tasks.glue import GlueTask

STEPS = 10
CASES = {
    "SST-2": GlueTask(),
    "SST-2, batches of random lengths": GlueTask(length_group=1),
    "MRPC": GlueTask(corpus="mrpc"),
}


def main(rounds: int) -> None:
    """Time the next ten steps of every case and of its twin in turn."""
    cases: dict[str, Callable[[], Any]] = {}
    counts = {}
    for name, task in CASES.items():
        config = settings_of(task).config
        data = task.load()
        batches = list(_batches(task, data, rounds + 1))
        lengths = np.array([batch["lengths"].sum() for batch in batches])
        counts[name] = lengths.reshape(-1, STEPS).sum(1)[1:]  # those that are timed
        with numerics_of(config):
            cases[name] = advancing(SingleRun(config, data), STEPS)
        if twin := _twin(task, iter(batches)):
            cases[f"PyTorch, {name}"] = twin
    times = timing.in_turn(cases, rounds)
    rows = []
    for name in cases:
        own = name.removeprefix("PyTorch, ")
        speed = np.median(counts[own] / np.array(times[name]))
        row = [name, *timing.milliseconds(times[name], STEPS), f"{speed:,.0f}"]
        twin_times = times.get(f"PyTorch, {name}")
        row.append(timing.ratio(times[name], twin_times) if twin_times else "")
        rows.append(row)
    timing.report(
        "glue",
        "A step of fine-tuning MiniLM (6 layers, width 384), batch 32, with dropout "
        f"and AdamW, {rounds} rounds of {STEPS} steps",
        ("case", "median ms", "range", "tokens a second", "÷ PyTorch"),
        rows,
    )


def _batches(task: GlueTask, data: Data, chunks: int) -> Iterator[dict[str, Any]]:
    """The batches of a run's first steps."""
    config = settings_of(task).config
    train = data["rows"]["train"]
    with numerics_of(config):
        key = Keys.from_seed(0).order
        order = np.asarray(task.order(data, key, jax.numpy.int32(0), len(train)))
    size = config.training.batch_size
    for step in range(chunks * STEPS):
        rows = train[order[step * size : (step + 1) * size]]
        yield {name: np.asarray(a) for name, a in task.take(data, rows).items()}


def _twin(
    task: GlueTask, batches: Iterator[dict[str, Any]]
) -> Callable[[], None] | None:
    """The same steps of the PyTorch twin; None without PyTorch."""
    try:
        from benchmarks import torch_bert as twin
    except ModuleNotFoundError:
        print("PyTorch is not installed: no comparison with it.")
        return None
    classes = len(CORPORA[task.corpus].classes)
    model = twin.Classifier(task.sizes, classes, task.pools_by)
    twin.load(model, read_weights(encoder_folder(task.encoder)))
    train = twin.make_steps(model, batches, lr=5e-5, weight_decay=0.01)
    return lambda: train(STEPS)
