"""A lock that keeps other processes out of a directory, on any file system."""

import contextlib
import errno
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import filelock

_NO_LOCKS = (
    errno.ENOLCK,
    errno.ENOSYS,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.EBADF,
    errno.EIO,
    errno.EINVAL,
    errno.ESTALE,
)
"""What file systems without locks answer, some of a network's for example."""


def acquired(file: Path, *, seconds: float = -1) -> AbstractContextManager[Any]:
    """A lock that is held until the context ends, or this process, however it ends.

    Where the file system has no locks, a second file is one: it holds the number of
    this process, and another of this machine that finds it dead takes the lock over.

    Args:
      file: its directory must exist.
      seconds: how long to wait for another process; for ever if negative.

    Raises:
      filelock.Timeout: another process holds it.
      OSError: neither way works; no new file is left.
    """
    was_there = file.exists()
    try:
        return _either_way(file, seconds)
    except filelock.Timeout:
        raise
    except OSError as error:
        if not was_there:
            with contextlib.suppress(OSError):
                file.unlink(missing_ok=True)
        raise OSError(
            f"{file.parent} cannot be locked ({error.strerror or error}); choose a "
            "directory on another file system, or one that you may write to."
        ) from None


def _either_way(file: Path, seconds: float) -> AbstractContextManager[Any]:
    try:
        # The library's own fallback knows one of the errors alone, and warns.
        lock = filelock.FileLock(file, fallback_to_soft=False)
        return lock.acquire(timeout=seconds)
    except filelock.Timeout:
        raise
    except OSError as error:  # Of others nobody knows whether a lock is held.
        if error.errno not in _NO_LOCKS:
            raise
        answer = error.strerror
    try:
        return filelock.SoftFileLock(_second(file)).acquire(timeout=seconds)
    except filelock.Timeout:
        raise
    except OSError as error:
        raise OSError(f"{answer}; then {error.strerror}") from None


def is_held(file: Path) -> bool:
    """Whether a live process holds the lock; nothing is left behind."""
    locks = (
        filelock.FileLock(file, fallback_to_soft=False),
        filelock.SoftFileLock(_second(file)),
    )
    return any(_is_taken(lock) for lock in locks if Path(lock.lock_file).exists())


def _is_taken(lock: filelock.BaseFileLock) -> bool:
    try:
        with lock.acquire(timeout=0):
            return False
    except filelock.Timeout:
        return True
    except OSError:  # no locks here, or an archive that cannot be written to
        return False


def _second(file: Path) -> Path:
    return file.with_name(f"{file.name}-by-file")
