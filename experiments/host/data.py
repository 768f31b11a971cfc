"""Data sets in memory: each read once a process, and put once on each device."""

import threading
from typing import Any

import jax

from experiments.records.provenance import tree_sha256
from experiments.settings.files import Files
from experiments.settings.task import Data, Task


class DataSets:
    """What lanes share; asked by several threads.

    Args:
      files: where data sets are.
    """

    def __init__(self, files: Files = Files()):
        self._files = files
        self._lock = threading.Lock()
        self._loaded: dict[Any, Data] = {}
        self._sha256: dict[Task, str] = {}

    def of(self, task: Task) -> Data:
        """A task's data, on the host."""
        with self._lock:
            if task not in self._loaded:
                self._loaded[task] = task.load(self._files)
            return self._loaded[task]

    def sha256(self, task: Task) -> str:
        """Checksum of a task's data, for the record."""
        if task not in self._sha256:
            self._sha256[task] = tree_sha256(self.of(task))
        return self._sha256[task]

    def on(self, device: jax.Device, task: Task, dtype: str) -> Data:
        """A task's data, on a device, in double precision if that is the run's."""
        data = self.of(task)
        with self._lock, jax.enable_x64(dtype == "float64"):
            key = (task, device, dtype)
            if key not in self._loaded:
                self._loaded[key] = jax.device_put(data, device)
            return self._loaded[key]
