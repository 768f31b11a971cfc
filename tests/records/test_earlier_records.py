"""Runs and sweeps that were recorded before the settings became pytrees.

The archive holds records of November 2026: three finished runs under the names that
they were given then; a run and two sweeps as ``kill -9`` left them, checkpoints and
all; and what became of those three when they were not killed.
"""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from experiments.commands.cli import main
from experiments.records.run import RunDirectory, find_runs

ARCHIVE = Path(__file__).parents[1] / "support" / "records-2026-11.tar.xz"
TINY = ["modular", "--prime", "11", "--width", "16", "--layers", "1"]
TINY += ["--batch-size", "16", "--eval-every", "10", "--steps", "400"]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    root = tmp_path_factory.mktemp("records")
    with tarfile.open(ARCHIVE) as file:
        file.extractall(root, filter="data")
    return root


@pytest.fixture
def earlier(archive, tmp_path, monkeypatch):
    """A copy, to be gone on with, and the directory to work in."""
    shutil.copytree(archive, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def out(capsys, *arguments):
    capsys.readouterr()
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def test_are_listed_shown_plotted_and_compared(earlier, capsys):
    found = json.loads(out(capsys, "list", "runs", "--json"))
    assert [run["config"]["task"] for run in found] == ["mnist", "modular", "qm9"]
    assert all(run["state"] == "completed" for run in found)
    mnist, modular, qm9 = (run["run"] for run in found)
    # What the task's class told then, its record does not say.
    assert "steps to 95 % of the published" in out(capsys, "show", mnist)
    assert "lowest validation loss" in out(capsys, "show", qm9)
    assert "accuracy" not in out(capsys, "show", qm9)
    shown = json.loads(out(capsys, "show", mnist, "--json"))["config"]
    assert (shown["window_size"], shown["lamb"], shown["beta2"]) == (3, 5.0, 0.999)
    assert not shown.keys() & {"alpha", "filter_init", "momentum", "clip_position"}
    both = json.loads(out(capsys, "compare", mnist, modular, "--json"))
    assert both["settings"]["filter"] == ["ma", "none"]
    assert "wrote" in out(capsys, "plot", mnist, modular, "--output", "both.png")
    assert "wrote" in out(capsys, "plot", mnist, modular, qm9, "--output", "all.png")


@pytest.mark.thorough
def test_have_their_names_still(earlier, capsys):
    """A run without ``--run-dir`` is found under the name that it was given then."""
    before = sorted(path.name for path in Path("runs").iterdir())
    size = ["--prime", "11", "--width", "16", "--layers", "1", "--eval-every", "20"]
    text = out(capsys, "train", "modular", *size, "--steps", "60")
    assert "This run is finished" in text
    assert sorted(path.name for path in Path("runs").iterdir()) == before
    assert main(["train", "modular", *size, "--steps", "60", "--seed", "1"]) == 0
    assert len(list(Path("runs").iterdir())) == len(before) + 1


def same_rows(run, whole, until):
    """Exactly what was recorded then; after it, to the rounding of another machine."""
    found, expected = run.metrics(), RunDirectory(whole).metrics()
    assert found.keys() == expected.keys()
    np.testing.assert_array_equal(found["step"], expected["step"])
    early = expected["step"] <= until
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name][early], values[early])
    soon = expected["step"] <= until + 30
    for name in ("train_loss", "weight_norm"):
        np.testing.assert_allclose(
            found[name][soon], expected[name][soon], rtol=1e-3, err_msg=name
        )


def test_a_killed_run_goes_on(earlier):
    options = ["--filter", "ema", "--weight-decay", "0.005"]
    before = RunDirectory(Path("run-killed")).seconds()
    assert RunDirectory(Path("run-killed")).compile_seconds() == 0  # was not noted
    assert main(["train", *TINY, *options, "--run-dir", "run-killed"]) == 0
    run = RunDirectory(Path("run-killed"))
    assert run.summary()["status"] == "completed"
    same_rows(run, "whole/run", until=60)
    assert run.seconds() > before  # those of then are counted


@pytest.mark.thorough
@pytest.mark.filterwarnings("error:.*start over")
@pytest.mark.parametrize(
    ("way", "options"), [("placed", ["--alpha", ".9,.98"]), ("vmap", [])]
)
def test_a_killed_sweep_goes_on(earlier, way, options):
    directory = f"sweep-{way}-killed"
    command = ["sweep", *TINY, "--filter", "none,ema", *options, "--seeds", "2"]
    names = {run.path.name for run in find_runs(Path(directory))}
    assert main([*command, "--way", way, "--run-dir", directory]) == 0
    frame = pl.read_parquet(Path(directory) / "lanes.parquet")
    assert set(frame["status"]) == {"completed"}
    assert names <= set(frame["lane"])
    if way == "vmap":
        # The lanes without filter had not begun.
        for run in (
            run for run in find_runs(Path(directory)) if "ema" in run.path.name
        ):
            same_rows(run, f"whole/sweep-vmap/lanes/{run.path.name}", until=150)
