"""Strict modes for all tests, and where the real data are."""

import os
from pathlib import Path

# Before jax is imported, so that the processes which tests start share it too.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".cache" / "jax")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")

REPOSITORY = Path(__file__).parents[1]
SHARED = Path(os.environ.get("GROKFAST_SHARED", REPOSITORY.parent / "shared"))


@pytest.fixture
def parity_record():
    """Path of a recorded run of the published implementation, by its filter."""

    def find(name: str) -> Path:
        path = SHARED / "parity" / f"trace_{name}_seed0.npz"
        if not path.exists():
            pytest.skip(f"real data not there: {path.name}")
        return path

    return find


@pytest.fixture
def x64():
    """Run a test in double precision."""
    with jax.enable_x64(True):
        yield
