"""Stopping at a value of any column of the metrics."""

import numpy as np
import polars as pl
import pytest

from experiments.commands.cli import main
from experiments.records.run import RunDirectory
from experiments.settings.target import Target
from tests.support.tiny import read

TINY = ["modular", "--prime", "11", "--width", "16", "--layers", "1", "--heads", "2"]
TINY += ["--batch-size", "16", "--eval-every", "10", "--steps", "120"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that goes to its end."""
    directory = tmp_path_factory.mktemp("whole")
    assert main(["train", *TINY, "--run-dir", str(directory)]) == 0
    return RunDirectory(directory).metrics()


def first(whole, column, value, lower_is_better):
    """The first evaluated step that meets a target."""
    met = whole[column] <= value if lower_is_better else whole[column] >= value
    return int(whole["step"][np.argmax(met)])


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("column", "sign"),
    [
        ("train_loss", "<="),
        ("validation_loss", ">="),
        ("weight_norm", ">="),
        ("train_accuracy", ">="),
        ("step", ">="),
    ],
)
def test_stops_at_the_right_step(whole, column, sign, tmp_path):
    """One chunk after the first row that meets it, with the rows of the whole run."""
    value = float(whole[column][5])
    expected = first(whole, column, value, sign == "<=")
    assert expected <= 50
    target = f"{column}{sign}{value}"
    arguments = ["train", *TINY, "--stop-at", target, "--run-dir", str(tmp_path)]
    assert main(arguments) == 0
    summary, _ = read(tmp_path)
    assert summary["status"] == "reached target"
    assert summary["steps"] == expected + 10
    metrics = RunDirectory(tmp_path).metrics()
    for name, values in metrics.items():
        np.testing.assert_array_equal(values, whole[name][: len(values)])
    assert main(arguments) == 0  # finished: nothing more is trained
    assert read(tmp_path)[0] == summary


@pytest.mark.thorough
def test_a_target_that_is_not_met(whole, tmp_path):
    value = 0.5 * whole["validation_loss"].min()
    target = f"validation_loss<={value}"
    run = ["--stop-at", target, "--run-dir", str(tmp_path)]
    assert main(["train", *TINY, *run]) == 0
    assert read(tmp_path)[0]["status"] == "completed"
    assert read(tmp_path)[0]["steps"] == 120


@pytest.mark.thorough
@pytest.mark.parametrize("way", ["placed", "vmap"])
def test_lanes_stop_each_at_its_own_step(whole, way, tmp_path):
    value = float(whole["train_loss"][5])
    target = ["--stop-at", f"train_loss<={value}", "--way", way]
    run = ["--run-dir", str(tmp_path)]
    assert main(["sweep", *TINY, "--seeds", "2", *target, *run]) == 0
    frame = pl.read_parquet(tmp_path / "lanes.parquet").sort("seed")
    assert set(frame["status"]) == {"reached target"}
    expected = first(whole, "train_loss", value, lower_is_better=True)
    assert frame["steps_trained"][0] == expected + 10
    for name in frame["lane"]:
        metrics = RunDirectory(tmp_path / "lanes" / name).metrics()
        met = metrics["train_loss"] <= value
        assert met.argmax() == len(met) - 2


@pytest.mark.parametrize("verb", ["train", "sweep"])
def test_an_unknown_column_is_one_clear_error(verb, tmp_path, capsys):
    target = ["--stop-at", "validation_los<=0.5", "--run-dir", str(tmp_path)]
    assert main([verb, *TINY, *target]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: stop_at: no column 'validation_los'")
    assert "validation_loss" in error.removeprefix("error: stop_at")
    assert error.count("\n") == 1
    assert not list(tmp_path.rglob("metrics.csv"))
    # Nothing is in the way of the right one.
    right = ["--stop-at", "validation_loss<=99", "--run-dir", str(tmp_path)]
    if verb == "train":
        assert main([verb, *TINY, *right]) == 0


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("0.99", Target("validation_accuracy", 0.99)),
        ("train_accuracy>=0.5", Target("train_accuracy", 0.5)),
        (" weight_norm <= 1e-3", Target("weight_norm", 1e-3, lower_is_better=True)),
        ("validation_loss>=-1", Target("validation_loss", -1.0)),
    ],
)
def test_texts_of_targets(text, target):
    assert Target.parse(text) == target


@pytest.mark.parametrize(
    "text", ["", "1.5", "0", "-1", "nan", "high", "a<0.5", "<=0.5", "a b<=1", "a<=b"]
)
def test_texts_that_are_no_targets(text):
    with pytest.raises(ValueError, match="stop_at"):
        Target.parse(text)


def test_what_is_not_a_number_meets_no_target():
    assert not Target("a", 0.5).is_met(float("nan"))
    assert not Target("a", 0.5, lower_is_better=True).is_met(float("nan"))
    assert Target("a", 0.5).is_met(0.5)
    assert Target("a", 0.5, lower_is_better=True).is_met(0.5)
