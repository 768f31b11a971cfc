"""The blocks of the pages, and more calls, are right to the checkers users have."""

import json
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY
from tests.test_readme import BLOCKS

pytestmark = pytest.mark.thorough

CALLS = """
import jax.numpy as jnp
import numpy as np
import scipy.signal
from grokfast_jax import grokfast_ema, grokfast_ma, linear_filter, moving_average

linear_filter(np.array([0.1]), np.array([1.0, -0.9]))
linear_filter([0.1], (1, -0.9))
linear_filter(*scipy.signal.iirnotch(0.1, 30.0))
linear_filter(sos=scipy.signal.butter(4, 0.01, output="sos"))
grokfast_ema(jnp.float32(0.9), np.float32(2.0), init="zero", start_step=np.int32(3))
grokfast_ma(filter_type="sum", lamb=lambda count: 0.1 * count)
moving_average(3, start="partial", accumulator_dtype=jnp.float32)
"""
WRONG = """
from grokfast_jax import grokfast_ema, grokfast_ma

grokfast_ema(init="ones")
grokfast_ma(filter_type="max")
"""
OF_OPTAX = '"hyperparams"'  # its type of a state knows no fields


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files that shadow no module; what is wrong in ``the_wrong.py`` must be told."""
    folder = tmp_path_factory.mktemp("typing")
    pages = BLOCKS | {"calls": CALLS, "wrong": WRONG}
    for name, text in pages.items():
        # Recipes look into states, which for Optax are trees of anything.
        if "grokfast_jax" in text and not name.startswith("recipes"):
            (folder / f"the_{name}.py").write_text(text, encoding="utf-8")
    return folder


def run(folder, *arguments):
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, encoding="utf-8"
    ).stdout


def test_mypy(folder):
    pytest.importorskip("mypy", reason="mypy is not installed")
    # Optax is untyped, and so are the functions of the examples.
    options = ["--strict", "--allow-untyped-defs", "--allow-untyped-calls"]
    (folder / "mypy.ini").write_text(
        "[mypy]\n[mypy-scipy.*]\nfollow_imports = skip\n", encoding="utf-8"
    )
    out = run(folder, "mypy", *options, "--ignore-missing-imports", ".")
    errors = [line for line in out.splitlines() if ": error:" in line]
    assert [line.split(":")[:2] for line in errors] == [
        ["the_wrong.py", "4"],
        ["the_wrong.py", "5"],
    ], out


def test_pyright(folder):
    pytest.importorskip("basedpyright", reason="basedpyright is not installed")
    options = ["--outputjson", "--level", "error", "--pythonpath", sys.executable]
    found = json.loads(run(folder, "basedpyright", *options, "."))
    errors = [
        (each["file"].rsplit("/", 1)[-1], each["range"]["start"]["line"] + 1)
        for each in found["generalDiagnostics"]
        if OF_OPTAX not in each["message"]
    ]
    assert sorted(errors) == [("the_wrong.py", 4), ("the_wrong.py", 5)], found


def test_package_is_marked_as_typed():
    assert (REPOSITORY / "grokfast_jax" / "py.typed").exists()
