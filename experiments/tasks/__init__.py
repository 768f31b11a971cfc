"""Learning problems behind one interface; see :mod:`experiments.settings.task`."""

from experiments.settings.task import Task
from experiments.tasks.mnist import MnistTask
from experiments.tasks.modular import ModularTask
from experiments.tasks.qm9 import Qm9Task

TASKS: dict[str, type[Task]] = {
    task.name: task for task in (ModularTask, MnistTask, Qm9Task)
}
"""Every task by its name on the command line."""
