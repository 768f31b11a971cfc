"""Learning problems behind one interface; see :mod:`experiments.tasks.base`."""

from experiments.tasks.base import Task
from experiments.tasks.modular import ModularTask

TASKS: dict[str, type[Task]] = {task.name: task for task in (ModularTask,)}
"""Every task by its name on the command line."""
