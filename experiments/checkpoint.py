"""Checkpoints of a run's state: written in the background, restored newest first."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

# Orbax also logs, traceback and all, the errors that it raises.
logging.getLogger("absl").setLevel(logging.CRITICAL)


class Checkpoints:
    """The checkpoints of one run, named by their step.

    The newest two are kept: were the newest damaged, the one before would still serve.

    Args:
      directory: where they are; need not exist.
    """

    COPIES = 3
    """Checkpoints on the disk at one time, the one being written included."""

    def __init__(self, directory: Path):
        self._directory = Path(directory).absolute()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=self.COPIES - 1, enable_async_checkpointing=True
        )
        self._manager = ocp.CheckpointManager(self._directory, options=options)

    def save(self, step: int, state: Any) -> None:
        """Copy the state, then write it in the background.

        An error of an earlier write is raised here or by :meth:`close`.
        """
        if step in self._manager.all_steps():
            return
        with _write_errors(self._directory):
            self._manager.save(step, args=ocp.args.StandardSave(state))

    def restore(self, abstract_state: Any) -> tuple[int, Any] | None:
        """Step and state of the newest checkpoint that can be read, or None.

        One that cannot is renamed ``damaged-STEP``, with a warning.
        """
        sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        target = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding),
            abstract_state,
        )
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                arguments = ocp.args.StandardRestore(target)
                return step, self._manager.restore(step, args=arguments)
            except Exception as error:  # whatever it is, an older one may be whole
                aside = self._directory.with_name(f"damaged-checkpoint-{step}")
                warnings.warn(
                    f"checkpoint {step} cannot be read and is set aside as "
                    f"{aside.name}: {str(error).splitlines()[0]}",
                    stacklevel=2,
                )
                (self._directory / str(step)).rename(aside)
                self._manager.reload()
        return None

    def close(self) -> None:
        """Wait until everything is written."""
        with _write_errors(self._directory):
            self._manager.wait_until_finished()
            self._manager.close()


@contextlib.contextmanager
def _write_errors(directory: Path) -> Iterator[None]:
    """Whatever the writer raises, such as for a full disk, becomes an OSError."""
    try:
        yield
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise OSError(f"cannot write a checkpoint to {directory}: {reason}") from error
