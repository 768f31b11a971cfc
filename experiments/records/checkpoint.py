"""Checkpoints of a run's state: written in the background, restored newest first."""

import contextlib
import errno
import logging
import re
import shutil
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from experiments.records.provenance import sha256_of_leaves, tree_sha256
from experiments.records.run import RecordError

Slots = tuple[int, ...]
State = Any  # a pytree of arrays, or of their shapes, types and shardings


_CHANGED = "its contents have changed since they were written"


class Damaged(Exception):
    """A checkpoint's bytes cannot be read, or are not those that were written."""


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

    def save(self, step: int, slots: Slots, state: State) -> None:
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
        self,
        abstract_state: Callable[[Slots], State],
        padded: Callable[[Slots], Slots] = lambda slots: slots,
    ) -> tuple[int, Slots, State] | None:
        """Step, slots and state of the newest checkpoint that is whole; None if none.

        One whose bytes cannot be read, or have changed since they were written, is
        renamed ``damaged-checkpoint-STEP``, with a warning.

        Args:
          abstract_state: for some slots, the state's shapes, types and shardings.
          padded: the slots with as many empty ones as the devices ask for.

        Raises:
          RecordError: there are checkpoints, and none is whole; or one is, of a state
            of another structure.
          Exception: whatever else kept a whole one from being restored.
        """
        steps = sorted(self._manager.all_steps(), reverse=True)
        for step in steps:
            try:
                return step, *self._restore(step, abstract_state, padded)
            except Damaged as error:  # an older one may be whole
                self._set_aside(step, str(error))
        if steps:
            raise RecordError(
                f"no checkpoint in {self._directory.parent} can be read: they are set "
                "aside as damaged-checkpoint-STEP; --force starts over."
            )
        return None

    def _restore(
        self,
        step: int,
        abstract_state: Callable[[Slots], State],
        padded: Callable[[Slots], Slots],
    ) -> tuple[Slots, State]:
        notes = self._notes(step)
        slots: Slots = tuple(notes["slots"])
        wider = padded(slots)
        wanted = abstract_state(wider)
        if wider != slots:
            leaves = self._whole_leaves(step, notes["sha256"], wanted)
            return wider, _padded(leaves, wanted, len(slots))
        try:
            state = self._read(step, state=ocp.args.StandardRestore(wanted))["state"]
        except Exception as error:
            self._whole_leaves(step, notes["sha256"], wanted)
            error.add_note(f"checkpoint {step} of {self._directory} is whole")
            raise
        if tree_sha256(state) != notes["sha256"]:
            raise Damaged(_CHANGED)
        return slots, state

    def _whole_leaves(
        self, step: int, sha256: str, wanted: State
    ) -> dict[str, np.ndarray]:
        """The arrays by name, read plainly: is it the checkpoint that is to blame?

        Raises:
          Damaged: it is.
          RecordError: it is whole, and of a state of another structure.
        """
        leaves = self._leaves(step)
        _check_structure(step, self._directory, leaves, wanted)
        paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(wanted)[0]]
        if sha256_of_leaves([(path, leaves[_name(path)]) for path in paths]) != sha256:
            raise Damaged(_CHANGED)
        return leaves

    def _notes(self, step: int) -> dict[str, Any]:
        try:
            return dict(self._read(step, notes=ocp.args.JsonRestore())["notes"])
        except Exception as error:
            _judge(error)
            raise

    def _leaves(self, step: int) -> dict[str, np.ndarray]:
        """The arrays of a checkpoint by the names of their paths, as they are there."""
        directory = self._directory / str(step) / "state"
        try:
            checkpointer = ocp.PyTreeCheckpointer()
            metadata = checkpointer.metadata(directory).item_metadata
            numpy = jax.tree.map(
                lambda _: ocp.RestoreArgs(restore_type=np.ndarray), metadata.tree
            )
            tree = checkpointer.restore(directory, restore_args=numpy)
        except Exception as error:  # TensorStore and Orbax have no common base
            _judge(error)
            raise
        leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
        return {_name(path): np.asarray(leaf) for path, leaf in leaves}

    def _read(self, step: int, **items: Any) -> Any:
        return self._manager.restore(step, args=ocp.args.Composite(**items))

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


def has_checkpoint(record: Path) -> bool:
    """Whether a run, or a lane of a sweep, has a checkpoint that is all written."""
    places = [*record.rglob("checkpoints"), *record.glob("groups/*")]
    return any(
        step.name.isdigit()
        for place in places
        if place.is_dir()  # a file browser may have left one of its own
        for step in place.iterdir()
    )


class _Quiet:
    """What the process does about the writer's reports, while any thread writes."""

    def __init__(self) -> None:
        self._lock, self._writers = threading.Lock(), 0
        self._hook, self._level = sys.unraisablehook, logging.NOTSET

    def __call__(self, unraisable: Any) -> None:
        """All but late reports: :data:`sys.unraisablehook` meanwhile."""
        error = unraisable.exc_value
        if not (
            isinstance(error, RuntimeError) and str(error) == "Event loop is closed"
        ):
            self._hook(unraisable)

    def begin(self) -> None:
        """Another thread writes."""
        logger = logging.getLogger("absl")
        with self._lock:
            self._writers += 1
            if self._writers > 1:
                return
            self._level = logger.level
            logger.setLevel(logging.CRITICAL)
            if sys.unraisablehook is not self:
                self._hook, sys.unraisablehook = sys.unraisablehook, self

    def end(self, *, more_to_come: bool) -> None:
        """A thread is done; after the last one all is as before, but late reports."""
        with self._lock:
            self._writers -= 1
            if self._writers:
                return
            logging.getLogger("absl").setLevel(self._level)
            if not more_to_come:
                sys.unraisablehook = self._hook


_quiet = _Quiet()


@contextlib.contextmanager
def quiet_writer() -> Iterator[None]:
    """Within it, the writer's errors are those that it raises, once.

    Orbax logs them too, traceback and all; and once one array cannot be written, the
    other threads report theirs to an event loop that is closed: a traceback each.
    Several threads may be within it at a time.
    """
    has_failed = False
    _quiet.begin()
    try:
        yield
    except OSError:  # a write has failed: reports are still to come
        has_failed = True
        raise
    finally:
        _quiet.end(more_to_come=has_failed)


def _name(path: Any) -> str:
    """The same for a field, a key and an index, which a checkpoint tells not apart."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _padded(leaves: dict[str, np.ndarray], wanted: State, count: int) -> State:
    """A state of ``count`` slots with more: those hold what the first one holds."""

    def placed(path: Any, a: jax.ShapeDtypeStruct) -> jax.Array:
        value = leaves[_name(path)]
        if value.ndim and len(value) == count:
            more = np.repeat(value[:1], a.shape[0] - count, axis=0)
            value = np.concatenate([value, more])
        return jax.device_put(value, a.sharding)

    return jax.tree_util.tree_map_with_path(placed, wanted)


def _check_structure(
    step: int, directory: Path, leaves: dict[str, np.ndarray], wanted: State
) -> None:
    names = {_name(path) for path, _ in jax.tree_util.tree_flatten_with_path(wanted)[0]}
    if missing := sorted(names - leaves.keys()):
        problem = f"lacks {', '.join(missing[:3])}"
    elif unknown := sorted(leaves.keys() - names):
        problem = f"has {', '.join(unknown[:3])} too"
    else:
        return
    raise RecordError(
        f"checkpoint {step} of {directory} is whole, but of another state: it "
        f"{problem}; go on with the version that wrote it, or --force to start over."
    )


def _judge(error: Exception) -> None:
    """Raise Damaged, if bytes are to blame: not there, unreadable, of another form.

    Memory, permission, open files and the like are not the checkpoint's fault. What
    decoders raise has no common base.
    """
    statuses = ("RESOURCE_EXHAUSTED", "PERMISSION_DENIED", "Too many open files")
    if isinstance(error, MemoryError) or any(s in str(error) for s in statuses):
        return
    is_missing = isinstance(error, FileNotFoundError)
    if isinstance(error, OSError) and not is_missing and error.errno != errno.EIO:
        return
    raise Damaged(_first_line(error)) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextlib.contextmanager
def _write_errors(directory: Path) -> Iterator[None]:
    """Whatever the writer raises, such as for a full disk, becomes an OSError.

    What it had begun is removed: it would take the room that is missing.
    """
    try:
        yield
    except Exception as error:
        for begun in directory.glob("*.orbax-checkpoint-tmp"):
            shutil.rmtree(begun, ignore_errors=True)
        # TensorStore nests its messages, innermost last, and adds all its settings.
        innermost = re.split(r" \[\w+='", _first_line(error))[0].split(": ")[-2:]
        raise OSError(
            f"cannot write a checkpoint to {directory}: {': '.join(innermost)}"
        ) from error
