"""Reading records needs no model library: the verbs that do, with Flax out of reach."""

import os
import subprocess
import sys

import pytest

from experiments.methods.named import settings_of
from tests.conftest import REPOSITORY
from tests.support.command_line import strict_json
from tests.support.made_up import record, sweep
from tests.support.tiny import TASK

CURVES = {
    "train_loss": [2.5, 1.0, 0.1],
    "train_accuracy": [0.1, 0.5, 1.0],
    "validation_loss": [2.6, 2.0, 1.5],
    "validation_accuracy": [0.1, 0.2, 0.5],
    "weight_norm": [7.0, 6.0, 5.0],
}
PROGRAM = """
import sys

class NoFlax:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("flax", "orbax"):
            raise ImportError(f"{name} is out of reach")

sys.meta_path.insert(0, NoFlax())
from experiments.commands.cli import main
sys.exit(main(sys.argv[1:]))
"""


def run(directory, *arguments):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        encoding="utf-8",
    )


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Two runs, and a sweep of two, which nobody trained."""
    root = tmp_path_factory.mktemp("records")
    two = [settings_of(TASK, filter=text) for text in ("none", "ema:alpha=0.5+ma")]
    for name, settings in zip(("a", "b"), two, strict=True):
        record(root / name, settings, CURVES)
    sweep(root / "sweep", [(settings, CURVES) for settings in two])
    return root


@pytest.mark.thorough
@pytest.mark.parametrize(
    "arguments",
    [
        ["list", "."],
        ["list", ".", "--json"],
        ["show", "a"],
        ["show", "b", "--json"],
        ["show", "sweep", "--json"],
        ["compare", "a", "b"],
        ["report", "a", "sweep"],
        ["plot", "a", "b", "--output", "both.png"],
        ["response", "--alpha", "0.5", "--output", "response.png"],
    ],
    ids=" ".join,
)
def test_records_are_read(records, arguments):
    result = run(records, *arguments)
    assert result.returncode == 0, result.stderr
    assert result.stdout
    if "--json" in arguments:
        assert strict_json(result.stdout)
    if arguments[0] == "plot":
        assert (records / "both.png").read_bytes().startswith(b"\x89PNG")


def test_whoever_trains_needs_it(records):
    """So the tests above have it out of reach indeed."""
    result = run(records, "train", "modular", "--help")
    assert result.returncode != 0
    assert "is out of reach" in result.stderr
