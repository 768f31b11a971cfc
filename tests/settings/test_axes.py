"""Lists and ranges of settings, and the runs that they make."""

import json

import numpy as np
import pytest

from experiments.commands.cli import main
from experiments.methods.named import every_setting
from experiments.settings.axes import Range, combinations
from experiments.settings.flat import values_of
from experiments.tasks.modular import ModularTask


def test_every_combination_in_order():
    found = combinations({"a": (1, 2), "b": ("x",), "seed": (0, 1)})
    assert [(row["a"], row["seed"]) for row in found] == [
        (1, 0),
        (1, 1),
        (2, 0),
        (2, 1),
    ]
    assert list(found[0]) == ["a", "b", "seed"]


def test_zipped_lists_are_crossed_with_seeds_and_constants():
    options = {"a": (1, 2), "seed": (0, 1), "b": (5, 6), "c": (9,)}
    found = combinations(options, zipped=True)
    assert [tuple(row.values()) for row in found] == [
        (1, 0, 5, 9),
        (1, 1, 5, 9),
        (2, 0, 6, 9),
        (2, 1, 6, 9),
    ]
    with pytest.raises(ValueError, match=r"one length, got \{'a': 2, 'b': 3\}"):
        combinations({"a": (1, 2), "b": (1, 2, 3)}, zipped=True)


def test_draws_are_crossed_with_lists_and_repeatable():
    options = {"rate": Range(1e-4, 1e-1, log=True), "width": Range(2, 5, whole=True)}
    options["seed"] = (0, 1)
    found = combinations(options, samples=200)
    assert len(found) == 400
    pairs = [(row["rate"], row["width"]) for row in found]
    assert pairs[::2] == pairs[1::2]  # drawn together, once for both seeds
    rates, widths = np.array(pairs[::2]).T
    assert 1e-4 <= rates.min() < 2e-4
    assert 5e-2 < rates.max() <= 1e-1
    assert 2e-3 < np.median(rates) < 5e-3  # 3.2e-3; uniform, it would be .05
    assert set(widths) == {2, 3, 4, 5}
    assert found == combinations(options, samples=200)
    assert found != combinations(options, samples=200, sample_seed=1)
    with pytest.raises(ValueError, match="rate, width: a range needs --samples"):
        combinations(options)
    with pytest.raises(ValueError, match="--samples needs a range"):
        combinations({"a": (1,)}, samples=3)


def test_drawn_values_stay_in_the_range_when_rounded():
    values = Range(0.98765, 0.98766).draw(np.random.default_rng(0), 50)
    assert all(0.98765 <= value <= 0.98766 for value in values)


def test_options_without_effect_make_no_lanes():
    rows = combinations(
        {
            "prime": (11,),
            "filter": ("none", "ema"),
            "alpha": (0.9, 0.98),
            "momentum": (0.8, 0.9),  # of another optimizer
            "seed": (0, 1),
        }
    )
    lanes = every_setting(ModularTask, rows)
    told = {
        (each["filter"], each.get("alpha"), each.get("momentum"), each["seed"])
        for each in map(values_of, lanes)
    }
    assert len(lanes) == len(told) == 6
    assert ("none", None, None, 1) in told
    assert ("ema", 0.9, None, 0) in told
    assert lanes[0].config.task.prime == 11


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--alpha", "0.9,1.5"], "1.5 is not in the range"),
        (["--alpha", "0.9:1.0", "--samples", "2"], "1.0 is not in the range"),
        (["--alpha", "0.9,"], "'0.9,' has an empty place between its commas"),
        (["--alpha", "0.9:0.8", "--samples", "2"], "must have LOW < HIGH"),
        (["--weight-decay", "0:1:log", "--samples", "2"], "must have 0 < LOW < HIGH"),
        (["--alpha", "0:0.5:lin", "--samples", "2"], "is not LOW:HIGH or LOW:HIGH:log"),
        (["--alpha", "0.8:0.9"], "alpha: a range needs --samples N"),
        (["--filter", "ema:ma"], "ema has no option 'ma': ema:OPTION=VALUE with"),
        (["--filter", "ema,fir"], "filter must be one of none, ema, ma, got 'fir'"),
        (["--seed", "0,1", "--seeds", "3"], "was given several"),
        (["--steps", "20,60"], "--steps takes one value"),
        (["--heads", "3"], "heads must divide width = 128, got 3"),
        (["--normalize", "perhaps"], "'perhaps' is not a valid boolean"),
    ],
)
def test_values_that_cannot_be(arguments, message, capsys, tmp_path):
    run = ["--run-dir", str(tmp_path / "sweep")]
    assert main(["sweep", "modular", *arguments, *run]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "sweep").exists()


def test_dry_run_tells_lanes_and_programs(capsys, tmp_path):
    arguments = ["sweep", "modular", "--filter", "ema,ma", "--window-size", "5,10"]
    arguments += ["--lamb", "1,2", "--seeds", "3", "--seed", "7", "--steps", "100"]
    arguments += ["--normalize", "true,false", "--dry-run"]
    run = ["--run-dir", str(tmp_path / "sweep")]
    assert main([*arguments, *run, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["lanes"] == (2 + 2 * 2) * 3 * 2  # the window is the MA's alone
    assert plan["programs"] == 3 * 2  # λ and the seed are traced
    assert plan["steps"] == 3600
    assert {row["seed"] for row in plan["settings"]} == {7, 8, 9}
    assert main([*arguments, *run]) == 0
    out = capsys.readouterr().out
    assert "36 lanes, 6 programs, 3,600 steps at most" in out
    chunks = ["sweep", "modular", "--eval-every", "20,30", "--dry-run", "--json"]
    assert main([*chunks, *run]) == 0
    assert json.loads(capsys.readouterr().out)["programs"] == 2
    rows = [line.split() for line in out.splitlines() if line.startswith(" e")]
    assert len(rows) == 12
    assert all("–" in row for row in rows)  # no window
    assert not (tmp_path / "sweep").exists()


def test_presets_are_values_too(capsys):
    arguments = ["sweep", "modular", "--preset", "mul97-ema", "--lamb", "1,2"]
    assert main([*arguments, "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [row["lamb"] for row in plan["settings"]] == [1.0, 2.0]
    assert plan["steps"] == 6000
