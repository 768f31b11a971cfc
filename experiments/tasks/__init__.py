"""Learning problems behind one interface; see :mod:`experiments.tasks.base`."""

from collections.abc import Mapping
from typing import Any

from experiments.tasks.base import Task
from experiments.tasks.mnist import MnistTask
from experiments.tasks.modular import ModularTask
from experiments.tasks.qm9 import Qm9Task

TASKS: dict[str, type[Task]] = {
    task.name: task for task in (ModularTask, MnistTask, Qm9Task)
}
"""Every task by its name on the command line."""


def published_accuracy(config: Mapping[str, Any]) -> float | None:
    """That of a recorded run's task; None if the task has none, or is not known."""
    task = TASKS.get(config["task"])
    return task and task.published_accuracy
