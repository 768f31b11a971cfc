"""First steps: packages that are missing, compiled programs that are kept."""

import os
import subprocess
import sys

import jax
import pytest

from experiments.commands import start
from experiments.data import source
from tests.conftest import REPOSITORY

DIRECTORY = "jax_compilation_cache_dir"
SECONDS = "jax_persistent_cache_min_compile_time_secs"


@pytest.fixture
def fresh_jax(monkeypatch, tmp_path):
    """As a user has it: nothing set, and an empty cache."""
    before = {name: getattr(jax.config, name) for name in (DIRECTORY, SECONDS)}
    monkeypatch.delenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", raising=False)
    monkeypatch.setattr(
        source.platformdirs, "user_cache_path", lambda *_, **__: tmp_path
    )
    jax.config.update(DIRECTORY, None)
    yield tmp_path / "programs"
    for name, value in before.items():
        jax.config.update(name, value)


def test_without_packages_the_message_says_what_to_do():
    """``-S``: a Python of whom no package is known."""
    result = subprocess.run(
        [sys.executable, "-S", "-m", "experiments", "list"],
        cwd=REPOSITORY,
        capture_output=True,
        encoding="utf-8",
    )
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert f"is not installed for {sys.executable}." in result.stderr
    assert ".venv/bin/python -m experiments" in result.stderr
    assert "pip install -e '.[experiments]'" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_module_of_ours_that_is_missing_is_a_fault():
    error = ModuleNotFoundError("no", name="experiments.nowhere")
    with pytest.raises(ModuleNotFoundError):
        start.what_is_missing(error)


def test_programs_are_kept_in_the_users_cache(fresh_jax):
    start.set_up_jax()
    assert jax.config.jax_compilation_cache_dir == str(fresh_jax)
    assert fresh_jax.is_dir()
    assert jax.config.jax_persistent_cache_min_compile_time_secs == 0.5


def test_what_the_user_has_chosen_stays(fresh_jax, monkeypatch):
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "3")
    jax.config.update(SECONDS, 3.0)
    jax.config.update(DIRECTORY, "elsewhere")
    start.set_up_jax()
    assert jax.config.jax_compilation_cache_dir == "elsewhere"
    assert not fresh_jax.exists()
    jax.config.update(DIRECTORY, None)
    start.set_up_jax()
    assert jax.config.jax_persistent_cache_min_compile_time_secs == 3.0


@pytest.mark.parametrize("error", [OSError, RuntimeError])  # read-only; no home
def test_without_a_place_nothing_is_kept(fresh_jax, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(source.platformdirs, "user_cache_path", fail)
    start.set_up_jax()
    assert jax.config.jax_compilation_cache_dir is None


def test_the_oldest_programs_make_room(fresh_jax, monkeypatch):
    monkeypatch.setattr(start, "_PROGRAMS_MIB", 2)
    fresh_jax.mkdir()
    for age, name in enumerate(("newest", "middle", "oldest")):
        path = fresh_jax / name
        path.write_bytes(bytes(2**20))
        os.utime(path, (1e9 - age, 1e9 - age))
    start.set_up_jax()
    assert {path.name for path in fresh_jax.iterdir()} == {"newest", "middle"}


def test_strict_promotion_is_told(fresh_jax):
    with (
        jax.numpy_dtype_promotion("strict"),
        pytest.warns(UserWarning, match="strict is not for training"),
    ):
        start.set_up_jax()
