"""Before the first verb: packages that are not there, settings of JAX, its programs.

Nothing here is done for those who use :mod:`experiments` from Python: what their
process shares is theirs to set.
"""

import contextlib
import os
import sys
import warnings
from pathlib import Path

_PROGRAMS_MIB = 1024


def what_is_missing(error: ModuleNotFoundError) -> str:
    """What to do where a package is not installed.

    Raises:
      ModuleNotFoundError: the missing module is one of ours.
    """
    package = str(error.name).partition(".")[0]
    if package in ("experiments", "None"):
        raise error
    return (
        f"error: {package} is not installed for {sys.executable}.\n"
        "`make grok` and `make test` set up .venv in the clone: use its Python,\n"
        "    .venv/bin/python -m experiments …\n"
        "or activate it once a shell: source .venv/bin/activate\n"
        "Any other environment: pip install -e '.[experiments]' in the clone."
    )


def set_up_jax() -> None:
    """Compiled programs are kept; a setting that training cannot have is told."""
    import jax

    if jax.config.jax_numpy_dtype_promotion == "strict":  # type: ignore[attr-defined]
        warnings.warn(
            "JAX_NUMPY_DTYPE_PROMOTION=strict is not for training: Optax's Adam raises "
            "a float to the power of an integer, and stops.",
            stacklevel=2,
        )
    if jax.config.jax_compilation_cache_dir is not None:  # type: ignore[attr-defined]
        return
    directory = _programs()
    if directory is None:
        return
    _remove_oldest(directory, _PROGRAMS_MIB * 2**20)
    jax.config.update("jax_compilation_cache_dir", str(directory))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def _programs() -> Path | None:
    """Where to keep compiled programs; None if nothing can be kept."""
    from experiments.data.source import DataError, cache_directory

    try:
        directory = cache_directory() / "programs"
        directory.mkdir(parents=True, exist_ok=True)
    except (DataError, OSError):
        return None
    return directory if os.access(directory, os.W_OK) else None


def _remove_oldest(directory: Path, limit: int) -> None:
    """Remove programs, the oldest first, until the others are within the limit.

    JAX's own limit is of no use where processes are killed: after a program that is
    only half noted it keeps no other.
    """
    kept = 0
    with contextlib.suppress(OSError):  # another process removes them too
        entries = [(entry, entry.stat()) for entry in os.scandir(directory)]
        for entry, stat in sorted(entries, key=lambda each: -each[1].st_mtime):
            kept += stat.st_size
            if kept > limit and entry.is_file():
                os.remove(entry)
