"""Checkpoints of a run's state: written in the background, restored newest first."""

import contextlib
import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orbax.checkpoint as ocp

from experiments.records.provenance import tree_sha256
from experiments.records.run import RecordError

# Orbax also logs, traceback and all, the errors that it raises.
logging.getLogger("absl").setLevel(logging.CRITICAL)

# Once one array cannot be written, the writer's other threads report theirs to an event
# loop that is closed: a traceback each, which buries the error itself.
_unraisablehook = sys.unraisablehook


def _all_but_late_reports(unraisable: Any) -> None:
    error = unraisable.exc_value
    if not (isinstance(error, RuntimeError) and str(error) == "Event loop is closed"):
        _unraisablehook(unraisable)


sys.unraisablehook = _all_but_late_reports


class Checkpoints:
    """The checkpoints of the lanes of one program, named by their step.

    The newest two are kept: were the newest damaged, the one before would still serve.

    Args:
      directory: where they are; need not exist.
    """

    COPIES = 3
    """Checkpoints on the disk at one time, the one being written included."""

    def __init__(self, directory: Path):
        self._directory = Path(directory).absolute()
        self._manager = self._open()

    def save(self, step: int, slots: Sequence[int], state: Any) -> None:
        """Copy the state, then write it and its SHA-256 in the background.

        ``slots`` tell which lane each part of the state belongs to. An error of an
        earlier write is raised here or by :meth:`close`.
        """
        if step in self._manager.all_steps():
            return
        notes = {"sha256": tree_sha256(state), "slots": list(slots)}
        arguments = ocp.args.Composite(
            state=ocp.args.StandardSave(state), notes=ocp.args.JsonSave(notes)
        )
        with _write_errors(self._directory):
            self._manager.save(step, args=arguments)

    def restore(
        self, abstract_state: Callable[[tuple[int, ...]], Any]
    ) -> tuple[int, tuple[int, ...], Any] | None:
        """Step, slots and state of the newest checkpoint that is whole; None if none.

        One that cannot be read is renamed ``damaged-checkpoint-STEP``, with a warning.

        Args:
          abstract_state: for some slots, the state's shapes, types and shardings.

        Raises:
          RecordError: there are checkpoints, and none is whole.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        for step in steps:
            try:
                return step, *self._restore(step, abstract_state)
            except Exception as error:  # whatever it is, an older one may be whole
                self._set_aside(step, str(error).splitlines()[0])
        if steps:
            raise RecordError(
                f"no checkpoint in {self._directory.parent} can be read: they are set "
                "aside as damaged-checkpoint-STEP; --force starts over."
            )
        return None

    def _restore(
        self, step: int, abstract_state: Callable[[tuple[int, ...]], Any]
    ) -> tuple[tuple[int, ...], Any]:
        def read(**items: Any) -> Any:
            return self._manager.restore(step, args=ocp.args.Composite(**items))

        notes = read(notes=ocp.args.JsonRestore())["notes"]
        slots = tuple(notes["slots"])
        state = read(state=ocp.args.StandardRestore(abstract_state(slots)))["state"]
        if tree_sha256(state) != notes["sha256"]:
            raise ValueError("its contents have changed since they were written")
        return slots, state

    def _set_aside(self, step: int, reason: str) -> None:
        root = self._directory.parent
        count = len(list(root.glob(f"damaged-checkpoint-{step}*")))
        aside = root / f"damaged-checkpoint-{step}{f'-{count + 1}' if count else ''}"
        warnings.warn(
            f"checkpoint {step} cannot be read and is set aside as {aside.name}: "
            f"{reason}",
            stacklevel=3,
        )
        self._manager.close()
        (self._directory / str(step)).rename(aside)
        self._manager = self._open()  # it remembers what it has found

    def _open(self) -> ocp.CheckpointManager:
        options = ocp.CheckpointManagerOptions(
            max_to_keep=self.COPIES - 1,
            enable_async_checkpointing=True,
            # In the background, directories are told apart by one counter of the whole
            # process: two lanes that save at once would wait for each other's.
            async_options=ocp.AsyncOptions(create_directories_asynchronously=False),
        )
        return ocp.CheckpointManager(
            self._directory, options=options, item_names=("state", "notes")
        )

    def wait(self) -> None:
        """Wait until everything is written."""
        with _write_errors(self._directory):
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Wait until everything is written, and stop the writer."""
        self.wait()
        self._manager.close()


@contextlib.contextmanager
def _write_errors(directory: Path) -> Iterator[None]:
    """Whatever the writer raises, such as for a full disk, becomes an OSError."""
    try:
        yield
    except Exception as error:
        # TensorStore nests its messages, innermost last, and adds all its settings.
        lines = str(error).splitlines() or [type(error).__name__]
        innermost = re.split(r" \[\w+='", lines[0])[0].split(": ")[-2:]
        raise OSError(
            f"cannot write a checkpoint to {directory}: {': '.join(innermost)}"
        ) from error
