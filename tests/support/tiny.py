"""A task that trains in no time, and what tests do with it: train, evaluate, read."""

import json

from experiments.engine.evaluate import evaluate
from experiments.host import loop
from experiments.methods.named import settings_of
from experiments.records.run import RunDirectory
from experiments.tasks.modular import ModularTask

TASK = ModularTask(prime=11, width=16, heads=2)  # 110 equations, 55 to train
ONE_BLOCK = ModularTask(prime=11, width=16, layers=1, heads=2)


def config_of(task=TASK, **options):
    """What is compiled, from options by their names; batches of 16."""
    return settings_of(task, **{"batch_size": 16} | options).config


def due(config):
    """All measures."""
    return (True,) * len(config.measures)


def row_of(config, data, state):
    """Scores and measures by name."""
    return evaluate(config.traced(), data, state, due(config)).row(due(config))


def train(path, settings, data=None, **options):
    """Train and record; goes on with what is there."""
    run, task = RunDirectory(path), settings.config.task
    with run.lock():
        assert run.prepare(settings)
        data = task.load() if data is None else data
        loop.train(settings, run, data, **options)
    return run


def read(directory):
    """Summary and metrics of a run, as they are on the disk."""
    summary = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
    return summary, (directory / "metrics.csv").read_text(encoding="utf-8")
