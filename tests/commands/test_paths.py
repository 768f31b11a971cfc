"""Names that people give to directories: with dollars, tildes, behind links."""

import numpy as np
import polars as pl
import pytest

from experiments import load
from experiments.commands.cli import main
from experiments.data.source import data_directory
from experiments.host.limits import check_place
from experiments.methods.named import settings_of
from experiments.notebook import train
from experiments.pictures.curves import figure_of
from experiments.records.checkpoint import has_checkpoint
from experiments.records.run import find_runs
from tests.support.command_line import TINY, json_of
from tests.support.made_up import record, sweep
from tests.support.tiny import TASK, read

SETTINGS = settings_of(TASK, steps=40)
CURVES = {
    "train_loss": [2.5, 1.0, 0.1],
    "train_accuracy": [0.1, 0.5, 1.0],
    "validation_loss": [2.6, 2.0, 1.5],
    "validation_accuracy": [0.1, 0.2, 0.5],
}


@pytest.mark.parametrize("others", [(), ("b",)])
def test_dollars_in_names_are_no_mathematics(tmp_path, others):
    name = r"costs $\foo$"
    runs = {n: record(tmp_path / n, SETTINGS, CURVES) for n in (name, *others)}
    figure = figure_of(runs, name)
    figure.draw_without_rendering()  # where Matplotlib would read its formulas
    assert figure.get_suptitle() == name


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (elsewhere := tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(elsewhere)
    return tmp_path


def test_a_tilde_is_the_home(home, capsys, monkeypatch):
    """No shell expands it in ``--run-dir=~/runs``, and Python in no string."""
    record(home / "run", SETTINGS, CURVES, status="completed")
    sweep(home / "sweep", [(SETTINGS, CURVES)])
    assert load("~/run").path == home / "run"
    assert load("~/sweep").path == home / "sweep"
    assert main(["plot", str(home / "run"), "--output=~/picture.png"]) == 0
    assert (home / "picture.png").exists()
    plan = json_of(capsys, "sweep", "modular", "--run-dir=~/new", "--dry-run")
    assert plan["sweep"] == str(home / "new")
    monkeypatch.setenv("GROKFAST_DATA", "~/data")
    assert data_directory()[0] == home / "data"
    assert data_directory("~/other")[0] == home / "other"
    finished = train("modular", run_dir="~/run", prime=11, width=16, heads=2, steps=40)
    assert finished.path == home / "run"
    assert not list(home.glob("elsewhere/*"))


def test_runs_behind_links_are_found_once(home):
    """On a cluster runs are often on another disk."""
    runs, scratch = home / "runs", home / "scratch"
    for path in (runs / "b", scratch / "c"):
        record(path, SETTINGS, CURVES)
    (runs / "a").symlink_to(runs / "b")  # "the latest", say
    (runs / "c").symlink_to(scratch / "c")
    (runs / "loop").symlink_to(home)
    assert [run.path for run in find_runs(runs)] == [runs / "b", runs / "c"]


def test_metrics_are_numbers_to_other_programs(tmp_path):
    """Polars reads "nan" as a word, and all of its column."""
    curves = CURVES | {"weight_norm": [np.nan, np.inf, 2.0]}
    run = record(tmp_path / "run", SETTINGS, curves)
    table = pl.read_csv(run.metrics_file)
    assert all(dtype.is_numeric() for dtype in table.dtypes)
    np.testing.assert_array_equal(table["weight_norm"], [np.nan, np.inf, 2.0])
    for name, values in run.metrics().items():
        np.testing.assert_array_equal(values, table[name])


@pytest.mark.parametrize("name", ["thesis [2026]", "back\\slash"])
def test_names_that_no_checkpoint_could_be_read_in(tmp_path, monkeypatch, name, capsys):
    """Orbax would write them, and find nothing again: refused before it trains."""
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    assert main(["train", "modular", *TINY, "--run-dir", "a"]) == 2
    assert f"brackets or backslashes of {name!r}" in capsys.readouterr().err
    assert main(["sweep", "modular", *TINY, "--seeds", "2", "--run-dir", "s"]) == 2
    assert not any((tmp_path / name).iterdir())
    (tmp_path / "link").symlink_to(tmp_path / name)  # as the message advises
    for steps in ("20", "40"):
        run = ["--steps", steps, "--run-dir", str(tmp_path / "link" / "a")]
        assert main(["train", "modular", *TINY, *run]) == 0
    assert read(tmp_path / name / "a")[0]["steps"] == 40


@pytest.mark.parametrize("name", ["a[1", "a]", "x*", "q?", "{b}"])
def test_names_with_other_signs_are_taken(tmp_path, name):
    check_place(tmp_path / name)


def test_a_foreign_file_among_groups(tmp_path):
    (tmp_path / "groups" / "0" / "5").mkdir(parents=True)
    (tmp_path / "groups" / ".DS_Store").touch()
    assert has_checkpoint(tmp_path)
