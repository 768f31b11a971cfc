"""Where a figure came from: source, versions, device, memory, a hash of parameters."""

import functools
import hashlib
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np

import grokfast_jax

_MIB = 2**20


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that determine the numbers."""
    packages = ("jax", "jaxlib", "flax", "optax", "numpy")
    return {
        "python": platform.python_version(),
        "grokfast_jax": grokfast_jax.__version__,
        **{name: version(name) for name in packages},
    }


@functools.cache
def revision(root: Path = Path(__file__).parents[2]) -> str | None:
    """The Git commit of the source, with " modified" if files of it have been changed.

    As it was when first asked for. None if the source is no checkout, or if Git cannot
    tell.
    """
    if not (
        root / ".git"
    ).exists():  # of one around it, such as a project's, is not ours
        return None
    where = ["--no-optional-locks", f"--git-dir={root / '.git'}", f"--work-tree={root}"]
    only_commit = ["--always", "--abbrev=40", "--exclude=*", "--dirty= modified"]
    try:
        found = subprocess.run(
            ["git", *where, "describe", *only_commit],
            capture_output=True,
            check=True,
            cwd=root,
            encoding="utf-8",
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def device() -> str:
    """The devices in use, such as ``1 × cpu (cpu)``."""
    devices = jax.devices()
    return f"{len(devices)} × {devices[0].platform} ({devices[0].device_kind})"


def peak_memory_mib() -> dict[str, float | None]:
    """Peak memory of this process, and of the device where the backend tells it."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    process = peak if sys.platform == "darwin" else peak * 1024
    stats = jax.devices()[0].memory_stats() or {}
    on_device = stats.get("peak_bytes_in_use")
    return {
        "process": round(process / _MIB, 1),
        "device": on_device and round(on_device / _MIB, 1),
    }


def memory_limit_bytes() -> int | None:
    """Memory of the device; on a CPU what this process may use of the machine's."""
    first = jax.devices()[0]
    if first.platform == "cpu":
        machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return min([machine, *_cgroup_limits()])
    return (first.memory_stats() or {}).get("bytes_limit")


def _cgroup_limits(
    own: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> list[int]:
    """Limits of the control groups, of either version, that this process is in.

    A container's are seen from its inside at the root.
    """
    groups = own.read_text(encoding="utf-8").splitlines() if own.exists() else []
    limits = []
    for group in ("::/", *groups):
        _, controllers, path = group.split(":", 2)
        place, name = root, "memory.max"
        if controllers:
            if "memory" not in controllers.split(","):
                continue
            place, name = root / "memory", "memory.limit_in_bytes"
        inner = place / path.lstrip("/")
        for directory in (inner, *inner.parents):
            text = directory / name
            if directory.is_relative_to(place) and text.is_file():
                value = text.read_text(encoding="utf-8").strip()
                limits += [int(value)] if value.isdigit() else []
    return limits


def tree_sha256(tree: Any) -> str:
    """SHA-256 over the bytes of all leaves, ordered by their path in the tree."""
    return sha256_of_leaves(jax.tree_util.tree_flatten_with_path(tree)[0])


def sha256_of_leaves(leaves: Sequence[tuple[Any, Any]]) -> str:
    """The same of paths and leaves."""
    digest = hashlib.sha256()
    for _, leaf in sorted(leaves, key=lambda item: jax.tree_util.keystr(item[0])):
        digest.update(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
