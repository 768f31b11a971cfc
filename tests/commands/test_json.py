"""Every ``--json`` prints JSON, whatever was recorded: NaN and ∞ are null."""

import numpy as np
import pytest

from experiments.commands.cli import main
from experiments.methods.named import settings_of
from tests.support.command_line import TINY, json_of
from tests.support.made_up import record
from tests.support.tiny import TASK

CURVES = {
    "train_loss": [2.5, np.nan],
    "train_accuracy": [0.1, 0.2],
    "validation_loss": [2.6, np.inf],
    "validation_accuracy": [0.1, 0.2],
    "weight_norm": [7.0, -np.inf],
    "filter_share": [np.nan, np.nan],
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two that were killed, one of them after its first row, and one that diverged."""
    root = tmp_path_factory.mktemp("runs")
    first = {name: values[:1] for name, values in CURVES.items()}
    record(root / "begun", settings_of(TASK), first)
    record(root / "lost", settings_of(TASK, filter="ema"), CURVES)
    options = ["--optimizer", "sgd", "--learning-rate", "1e30", "--warmup-steps", "0"]
    options += ["--steps", "6", "--eval-every", "1", "--run-dir"]
    assert main(["train", "modular", *TINY, *options, str(root / "diverged")]) == 3
    return root


@pytest.mark.thorough
def test_list(runs, capsys):
    found = {run["run"]: run for run in json_of(capsys, "list", runs)}
    assert len(found) == 3
    begun, diverged, lost = (
        found[str(runs / name)] for name in ("begun", "diverged", "lost")
    )
    assert (begun["state"], lost["state"]) == ("killed", "killed")
    assert diverged["state"] == "diverged"
    assert begun["final"]["filter_share"] is None
    assert begun["final"]["train_loss"] == 2.5
    assert diverged["final"]["train_loss"] is None
    assert lost["final"]["weight_norm"] is lost["final"]["validation_loss"] is None


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["begun", "lost", "diverged"])
def test_show(runs, name, capsys):
    (listed,) = json_of(capsys, "list", runs / name)
    assert json_of(capsys, "show", runs / name) == listed


@pytest.mark.thorough
def test_compare(runs, capsys):
    found = json_of(capsys, "compare", runs / "begun", runs / "lost")
    assert found["settings"]["filter"] == ["none", "ema"]
    assert found["settings"]["alpha"] == [None, 0.98]
    assert found["results"]["train_loss"] == [2.5, None]
    assert found["results"]["filter_share"] == [None, None]


@pytest.mark.thorough
def test_train(tmp_path, capsys):
    options = ["--steps", "1", "--eval-every", "1", "--run-dir", tmp_path / "a"]
    found = json_of(capsys, "train", "modular", *TINY, *options)
    assert found["final"]["filter_share"] == 0
    assert json_of(capsys, "train", "modular", *TINY, *options) == found  # finished
    options = ["--optimizer", "sgd", "--learning-rate", "1e30", "--warmup-steps", "0"]
    options += ["--eval-every", "1", "--run-dir", tmp_path / "b"]
    found = json_of(capsys, "train", "modular", *TINY, *options, code=3)
    assert found["status"] == "diverged"
    assert found["final"]["train_loss"] is None
    plan = json_of(capsys, "train", "modular", *TINY, "--filter", "ema+ma", "--dry-run")
    assert plan["config"]["filter"] == "ema+ma"
    assert plan["config"]["clip_norm"] is None


@pytest.mark.thorough
def test_response(tmp_path, capsys):
    """α = 0.1 never falls to −3 dB: no such frequency."""
    picture = tmp_path / "r.png"
    found = json_of(capsys, "response", "--alpha", "0.1", "--output", picture)
    assert found["EMA α = 0.1, λ = 2"]["cutoff"] is None
