"""Runs and sweeps from Python: the same records as from the command line."""

import warnings

import polars as pl
import pytest

import experiments
from experiments import load, sweep, train
from experiments.commands.cli import main
from experiments.records.run import RecordError

TINY = {"prime": 11, "width": 16, "layers": 1, "batch_size": 16, "eval_every": 10}
FLAGS = ["--prime", "11", "--width", "16", "--layers", "1", "--batch-size", "16"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.thorough
def test_a_run_is_that_of_the_command_line(tmp_path, capsys):
    run = train("modular", filter="ema:alpha=0.9", steps=30, **TINY)
    assert run.status == "completed"
    assert "30 of 30 steps" in capsys.readouterr().out
    assert run.path.parent.name == "runs"
    assert run.metrics["step"].to_list() == [0, 10, 20, 30]
    assert run.settings["alpha"] == 0.9
    assert run.milestones["t_gen_99"] is None
    assert run.summary["steps"] == 30
    assert (run.path / "curves.png").exists()
    assert run.plot().axes
    flags = [*FLAGS, "--eval-every", "10", "--steps", "30", "--filter", "ema"]
    assert main(["train", "modular", *flags, "--alpha", "0.9"]) == 0
    assert "This run is finished" in capsys.readouterr().out  # the same directory
    assert main(["train", "modular", *flags, "--alpha", "0.9", "--run-dir", "b"]) == 0
    other = load("b")
    assert other.summary["parameters_sha256"] == run.summary["parameters_sha256"]
    assert other.metrics.equals(run.metrics, null_equal=True)
    before = run.summary["seconds"]
    again = train("modular", filter="ema:alpha=0.9", steps=50, progress=False, **TINY)
    assert again.path == run.path
    assert again.metrics["step"].to_list()[-1] == 50
    assert again.summary["seconds"] > before
    assert capsys.readouterr().out.count("30 of 30") == 1  # of the command line


def test_a_sweep_and_its_tables(capsys):
    found = sweep(
        "modular", filter=["none", "ema:alpha=0.9"], seeds=2, steps=20, **TINY
    )
    assert len(found.lanes) == 4
    assert set(found.table["status"]) == {"completed"}
    assert found.by_setting["filter"].to_list() in (["none", "ema"], ["ema", "none"])
    assert isinstance(load(found.path), experiments.Sweep)
    assert len(found.survival().axes[0].lines) == 2  # settings
    assert main(["show", str(found.path)]) == 0
    assert "4 lanes of modular, 2 settings" in capsys.readouterr().out
    drawn = sweep(
        "modular",
        learning_rate="1e-4:1e-2:log",
        samples=2,
        steps=10,
        progress=False,
        **TINY,
    )
    assert drawn.table["learning_rate"].n_unique() == 2
    assert pl.read_parquet(drawn.path / "lanes.parquet").equals(
        drawn.table, null_equal=True
    )


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"alfa": 0.9}, TypeError, "alfa.*Did you mean 'alpha'"),
        ({"steps": 10.5}, TypeError, "steps must be an integer, got 10.5"),
        (
            {"batch_size": "many"},
            TypeError,
            "batch_size must be an integer, got 'many'",
        ),
        ({"filter": "emma"}, ValueError, "filter must be one of .*Did you mean 'ema'"),
        ({"filter": "ema", "alpha": 1.0}, ValueError, "alpha must be < 1, got 1.0"),
        ({"prime": 96}, ValueError, "prime must be a prime number, got 96"),
    ],
)
def test_what_cannot_be_names_the_argument(values, error, message, tmp_path):
    with pytest.raises(error, match=message):
        train("modular", **values)
    assert not list(tmp_path.iterdir())


def test_unknown_task_and_empty_directory(tmp_path):
    with pytest.raises(ValueError, match=r"task must be one of modular, .*, gpt, got"):
        train("modlar")
    with pytest.raises(RecordError, match="holds no run"):
        load(tmp_path)
    with pytest.raises(AttributeError, match="no attribute 'grok'"):
        experiments.grok  # noqa: B018


@pytest.mark.thorough
def test_what_has_no_effect_is_told():
    with pytest.warns(UserWarning, match="alpha has no effect with filter none"):
        train("modular", alpha=0.9, steps=5, progress=False, **TINY)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train("modular", filter="ema", alpha=0.9, steps=5, progress=False, **TINY)
