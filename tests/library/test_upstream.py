"""The patch for Optax: it applies, equals ours, and the tests of Optax pass with it."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import grokfast_jax
from tests.conftest import REPOSITORY

APPLY = REPOSITORY / "docs" / "upstream" / "apply.py"

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed"),
]


def apply(directory, *arguments, path=""):
    return subprocess.run(
        [sys.executable, APPLY, directory, *arguments],
        env=os.environ | {"PYTHONPATH": str(path)},
        capture_output=True,
        encoding="utf-8",
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A patched copy of the installed Optax."""
    directory = tmp_path_factory.mktemp("patched")
    done = apply(directory)
    assert done.returncode == 0, done.stderr
    return directory / "optax"


@pytest.fixture(scope="module")
def patched(copy):
    """The new module, beside the installed Optax."""
    file = copy / "contrib" / "_grokfast.py"
    spec = importlib.util.spec_from_file_location("of_the_patch", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def filtered(tx, gradients):
    """What becomes of one gradient after the other."""
    first = jax.tree.map(lambda g: g[0], gradients)

    def step(state, gradient):
        updates, state = tx.update(gradient, state)
        return state, updates

    return jax.lax.scan(step, tx.init(first), gradients)[1]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("grokfast_ema", {}),
        ("grokfast_ema", {"alpha": 0.999, "lamb": 0.5}),
        ("grokfast_ma", {}),
        ("grokfast_ma", {"window_size": 7, "lamb": 1.0}),
        ("grokfast_ma", {"window_size": 50, "warmup": False}),
    ],
)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_its_updates_are_ours(patched, name, arguments, dtype):
    shapes = {"a": (40, 7), "b": (), "c": {"d": (3, 5, 2)}}
    random = np.random.default_rng(0)
    gradients = jax.tree.map(
        lambda shape: jnp.asarray(random.normal(size=(300, *shape)), dtype),
        shapes,
        is_leaf=lambda node: isinstance(node, tuple),
    )
    wide = {"accumulator_dtype": "float32"}  # Optax's own default is the parameters'
    theirs = filtered(getattr(patched, name)(**arguments, **wide), gradients)
    ours = filtered(getattr(grokfast_jax, name)(**arguments), gradients)
    tolerance = 1e-6 if dtype == jnp.float32 else 2**-7  # an ulp of bfloat16
    for actual, expected in zip(
        jax.tree.leaves(theirs), jax.tree.leaves(ours), strict=True
    ):
        assert actual.dtype == expected.dtype
        np.testing.assert_allclose(
            np.float32(actual), np.float32(expected), rtol=tolerance, atol=tolerance
        )


def test_the_installed_optax_stays_as_it_is(copy):
    assert (copy / "contrib" / "_grokfast.py").exists()
    installed = importlib.util.find_spec("optax.contrib._grokfast")
    assert installed is None


def test_a_patch_that_does_not_apply(copy, tmp_path):
    """To what is patched already, for one."""
    done = apply(tmp_path, path=copy.parent)
    assert done.returncode == 1
    assert "does not apply to the installed" in done.stderr
    assert "already exists" in done.stderr
    assert not (tmp_path / "optax").exists()


def test_no_other_directory_is_overwritten(copy):
    done = apply(copy.parent)
    assert done.returncode == 1
    assert "exists already" in done.stderr


@pytest.mark.slow
def test_optax_suite_of_contrib_passes(tmp_path):
    if importlib.util.find_spec("optax.contrib._common_test") is None:
        pytest.skip("this Optax comes without its tests")
    done = apply(tmp_path, "--test")
    assert done.returncode == 0, done.stdout + done.stderr
    suite, doctests = re.findall("^([1-9]\\d*) passed", done.stdout, re.M)
    assert int(suite) > 600
    assert doctests == "2"
