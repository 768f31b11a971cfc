"""Learning problems behind one interface; see :mod:`experiments.settings.task`."""

from experiments.settings.task import Task
from experiments.tasks.cifar import CifarTask
from experiments.tasks.glue import GlueTask
from experiments.tasks.gpt import GptTask
from experiments.tasks.imagenet import ImagenetTask
from experiments.tasks.imdb import ImdbTask
from experiments.tasks.mnist import MnistTask
from experiments.tasks.modular import ModularTask
from experiments.tasks.qm9 import Qm9Task

_TASKS = (
    ModularTask,
    MnistTask,
    CifarTask,
    ImagenetTask,
    Qm9Task,
    ImdbTask,
    GlueTask,
    GptTask,
)
TASKS: dict[str, type[Task]] = {task.name: task for task in _TASKS}
"""Every task by its name on the command line."""
