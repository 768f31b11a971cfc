"""``list``: names at any width, a line a sweep, conditions and order."""

import json

import numpy as np
import pytest

from experiments.commands.cli import main
from experiments.methods.named import settings_of
from experiments.results.conditions import Condition
from experiments.screen import console
from experiments.screen.fit import fitting
from tests.support.command_line import error_of, json_of
from tests.support.made_up import record, sweep
from tests.support.tiny import TASK

LEARNS, FAILS = (0.02, 0.5, 0.99, 1.0), (0.02, 0.02, 0.02, 0.03)
NAMES = {"alone-with-a-name-of-some-length", "lost", "sweep-of-four-lanes"}


def curves(accuracies):
    values = np.array(accuracies)
    named = {"train_loss": 1 - values, "train_accuracy": values}
    return named | {"validation_loss": 2 - values, "validation_accuracy": values}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A run, one that was killed, and a sweep of four with one lane not begun."""
    root = tmp_path_factory.mktemp("runs")
    alone = settings_of(TASK, filter="ma", weight_decay=0.1)
    record(root / "alone-with-a-name-of-some-length", alone, curves(LEARNS), final={})
    record(root / "lost", settings_of(TASK, seed=5), curves(FAILS[:2]))
    lanes = [
        (settings_of(TASK, filter="ema", lamb=lamb, seed=seed), found)
        for lamb, seed, found in (
            (1.0, 0, curves(LEARNS)),
            (1.0, 1, curves(FAILS)),
            (2.0, 0, curves(LEARNS)),
            (2.0, 1, None),
        )
    ]
    sweep(root / "sweep-of-four-lanes", lanes)
    return root


def out(capsys, *arguments):
    capsys.readouterr()
    assert main([*map(str, arguments)]) == 0
    return capsys.readouterr().out


def named(capsys, root, *arguments):
    """Names of the runs and lanes that are told, in order."""
    found = json_of(capsys, "list", root, *arguments)
    return [run["run"].removeprefix(f"{root}/") for run in found]


@pytest.mark.parametrize("width", [36, 60, 80, 100, 200])
def test_names_stay_whatever_the_width(root, width, capsys, monkeypatch):
    monkeypatch.setattr(console.console, "_width", width)
    text = out(capsys, "list", root)
    words = text.split()
    assert set(words) >= NAMES
    assert "…" not in text
    header = next(line for line in text.splitlines() if line.split()[:1] == ["run"])
    told = header + text.partition("No room for ")[2]
    every = ("run", "task", "filter", "decay", "seed", "state", "lanes", "over")
    for column in (*every, "reached", "steps", "fit 99", "gen 99"):
        assert column in told
    assert ("No room" in text) == (width < 120)


def test_a_sweep_takes_no_room_from_what_runs_are(root, capsys, monkeypatch):
    monkeypatch.setattr(console.console, "_width", 100)
    text = out(capsys, "list", root)
    header = next(line for line in text.splitlines() if line.split()[:1] == ["run"])
    assert {"task", "decay"} <= {*header.split()}
    assert "over" not in header


def test_columns_are_left_out_whole_and_the_name_is_last():
    header = ["run", "a", "b", "c"]
    rows = [[f"modular-ema-seed{i}-0123abcd", 123456, "x" * 30, i] for i in range(65)]
    assert fitting(header, rows, ["c", "b", "a"], 200) == [0, 1, 2, 3]
    assert fitting(header, rows, ["c", "b", "a"], 60) == [0, 1, 3]
    assert fitting(header, rows, ["a", "b", "c"], 40) == [0, 1]
    assert fitting(header, rows, ["b", "a", "c"], 50) == [0, 1, 3]
    assert fitting(header, rows, ["b", "a", "c"], 20) == [0]
    assert fitting(header, rows, ["c"], 45) == [0, 1, 2]  # the others may not go


def test_the_table_of_a_sweep_keeps_its_settings(root, capsys, monkeypatch):
    monkeypatch.setattr(console.console, "_width", 30)
    text = out(capsys, "show", root / "sweep-of-four-lanes")
    assert "lamb  lanes  reached  median" in text
    assert "No room for range, at the end, unfinished" in text


def test_a_sweep_is_one_line(root, capsys, monkeypatch):
    monkeypatch.setattr(console.console, "_width", 200)
    text = out(capsys, "list", root)
    assert "2 runs and 1 sweep of 4 lanes" in text
    line = next(line for line in text.splitlines() if "sweep-of" in line)
    assert line.split()[6:10] == ["interrupted", "4", "3", "2"]
    found = {run["run"]: run for run in json_of(capsys, "list", root)}
    assert len(found) == 3
    of_sweep = found[str(root / "sweep-of-four-lanes")]
    assert of_sweep["config"]["lamb"] == [1.0, 2.0]
    assert of_sweep["config"]["filter"] == "ema"
    assert of_sweep["status"] == {"completed": 3, "not started": 1}
    counts = (of_sweep["lanes"], of_sweep["over"], of_sweep["reached"])
    assert counts == (4, 3, 2)
    assert of_sweep["steps"] == 60
    assert of_sweep["milestones"]["t_gen_99"] == 40  # of 40, 40 and never


def test_lanes_one_by_one(root, capsys):
    lanes = [f"lanes/{i}" for i in range(4)]
    place = "sweep-of-four-lanes"
    assert named(capsys, root / place) == lanes
    every = named(capsys, root, "--lanes")
    assert [n for n in every if n.startswith(place)] == [f"{place}/{n}" for n in lanes]
    assert len(every) == 6


@pytest.mark.parametrize(
    ("conditions", "lanes"),
    [
        (["lamb=2"], [2, 3]),
        (["lamb=1,2", "seed=1"], [1, 3]),
        (["lamb >= 1.5", "state!=not started"], [2]),
        (["status=completed", "t_gen_99<100"], [0, 2]),
        (["gen 99=none", "filter=EMA"], [1, 3]),
        (["validation_accuracy>0.9"], [0, 2]),
        (["task=modular", "decay=0", "operation=mul"], [0, 1, 2, 3]),
        (["task=modular mul", "task!=modular add"], [0, 1, 2, 3]),
        (["task!=qm9,modular mul", "task!=modular"], []),
        (["run=3"], [3]),
        (["stop_at=none", "normalize=false", "steps==0"], [3]),
    ],
)
def test_conditions(root, conditions, lanes, capsys):
    given = [word for each in conditions for word in ("--filter", each)]
    place = root / "sweep-of-four-lanes"
    assert named(capsys, place, *given) == [f"lanes/{i}" for i in lanes]
    of_sweep = [r for r in json_of(capsys, "list", root, *given) if "lanes" in r]
    assert [each["lanes"] for each in of_sweep] == [len(lanes)] * bool(lanes)


def test_order_has_what_is_missing_last(root, capsys):
    place = root / "sweep-of-four-lanes"
    by_loss = ["--sort", "validation_loss", "--filter", "lamb=1"]
    assert named(capsys, place, *by_loss) == ["lanes/0", "lanes/1"]
    assert named(capsys, place, *by_loss, "--reverse") == ["lanes/1", "lanes/0"]
    for arguments in (["--sort", "gen 99"], ["--sort", "t_gen_99", "--reverse"]):
        assert {*named(capsys, place, *arguments)[2:]} == {"lanes/1", "lanes/3"}
    sweep_last = named(capsys, root, "--sort", "lamb", "--reverse")
    assert sweep_last[:2] == ["alone-with-a-name-of-some-length", "sweep-of-four-lanes"]
    assert "validation_loss" in out(capsys, "list", root, *by_loss)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--filter", "lam=2"], ["'lam'", "Did you mean 'lamb'?", "weight_decay"]),
        (["--sort", "gen99"], ["'gen99'", "Did you mean 'gen 99'?", "lanes, over"]),
        (["--filter", "lanes>3"], ["lanes is of a sweep", "results of single runs"]),
        (["--filter", "lamb"], ["'lamb' must be KEY=VALUE"]),
        (["--filter", "lamb>x"], ["> needs a number, got 'x'"]),
    ],
)
def test_errors_name_what_there_is(root, arguments, words, capsys):
    message = error_of(capsys, "list", root, *arguments)
    for word in words:
        assert word in message


def test_nothing_found_tells_what_there_is(root, capsys):
    text = out(capsys, "list", root, "--filter", "filter=butter")
    assert "0 runs below" in text
    assert "filter of the 6 runs there: ema,ma,none" in text
    assert json.loads(out(capsys, "list", root, "--filter", "lamb=9", "--json")) == []


def test_a_condition_on_a_target():
    condition = Condition.parse("stop_at=validation_loss<=0.5")
    assert condition.holds("validation_loss<=0.5")
    assert not condition.holds(0.9)
