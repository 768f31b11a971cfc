"""The command line as a person uses it, on small runs."""

import csv
import json

import numpy as np
import pytest

from experiments.commands.cli import main
from experiments.commands.options import _cut_off
from experiments.methods.named import settings_of
from experiments.records import provenance
from experiments.records.run import RunDirectory
from experiments.results.milestones import milestones
from experiments.settings.milestone import OF_ACCURACY, generalised_95_of
from experiments.studies.grok import grok
from experiments.tasks.cifar import CifarTask
from experiments.tasks.modular import ModularTask

SMALL = ["train", "modular", "--prime", "11", "--width", "16", "--batch-size", "16"]


def run(arguments, directory):
    return main([*SMALL, "--run-dir", str(directory), *arguments])


def read(directory):
    summary = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
    with (directory / "metrics.csv").open(encoding="utf-8") as file:
        return summary, list(csv.DictReader(file))


def test_train_leaves_a_record(tmp_path, capsys):
    options = ["--filter", "ema", "--steps", "25", "--eval-every", "10"]
    assert run(options, tmp_path / "a") == 0
    summary, rows = read(tmp_path / "a")
    assert [row["step"] for row in rows] == ["0", "10", "20", "25"]
    assert list(rows[0])[:5] == [
        "step",
        "train_loss",
        "train_accuracy",
        "validation_loss",
        "validation_accuracy",
    ]
    assert summary["status"] == "completed"
    assert summary["steps"] == 25
    assert len(summary["parameters_sha256"]) == 64
    assert {"jax", "optax", "python"} < summary["versions"].keys()
    assert summary["started"].endswith("+00:00")
    assert summary["revisions"] == [provenance.revision()]
    assert summary["peak_memory_mib"]["process"] > 50
    assert (tmp_path / "a" / "curves.png").read_bytes().startswith(b"\x89PNG")
    config = json.loads((tmp_path / "a" / "config.json").read_text(encoding="utf-8"))
    assert config["filter"] == "ema"
    assert config["lamb"] == 2.0
    # What has no effect is not there; what a reader must know of the task is.
    assert not config.keys() & {"window_size", "momentum", "clip_position"}
    assert config["about_task"]["milestone"] == "t_gen_99"
    names = [milestone["name"] for milestone in config["about_task"]["milestones"]]
    assert names == [name for name in MILESTONES if name in summary["milestones"]]
    assert "25" in capsys.readouterr().out

    assert run(options, tmp_path / "b") == 0  # the same numbers again
    again, rows_again = read(tmp_path / "b")
    assert again["parameters_sha256"] == summary["parameters_sha256"]
    assert rows_again == rows


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("optimizer", "own"),
    [
        ("lion", {"beta1": 0.9, "beta2": 0.99}),
        pytest.param("sign_sgd", {}, marks=pytest.mark.slow),
        pytest.param(
            "muon", {"beta": 0.8, "newton_schulz_steps": 5}, marks=pytest.mark.slow
        ),
    ],
)
def test_every_optimizer_trains_and_is_shown(tmp_path, capsys, optimizer, own):
    text = f"{optimizer}:beta=0.8" if "beta" in own else optimizer
    options = ["--optimizer", text, "--learning-rate", "0.003", "--filter", "ema"]
    assert run([*options, "--steps", "60", "--weight-decay", "0.1"], tmp_path) == 0
    rows = read(tmp_path)[1]
    losses = [float(row["train_loss"]) for row in rows]
    assert losses[-1] < 0.9 * losses[0]
    config = RunDirectory(tmp_path).config()
    assert config["optimizer"] == optimizer
    assert own.items() <= config.items()
    assert not (config.keys() & {"beta", "beta1", "beta2", "momentum"}) - own.keys()
    capsys.readouterr()
    assert main(["show", str(tmp_path)]) == 0
    shown = dict(
        line.split()[:2]
        for line in capsys.readouterr().out.splitlines()
        if len(line.split()) == 2
    )
    assert shown["optimizer"] == optimizer
    assert shown["weight_decay"] == "0.1"
    for name, value in own.items():
        assert float(shown[name]) == value
    # The same numbers from the same settings, however they are spelled.
    other = tmp_path / "again"
    spelled = [*options, *(["--beta", "0.8"] if "beta" in own else [])]
    spelled[1] = optimizer
    assert run([*spelled, "--steps", "60", "--weight-decay", "0.1"], other) == 0
    assert read(other)[1] == rows


@pytest.mark.thorough
def test_stops_at_the_target(tmp_path):
    options = ["--steps", "900", "--eval-every", "20", "--stop-at", "0.02"]
    assert run(options, tmp_path) == 0
    summary, rows = read(tmp_path)
    assert summary["status"] == "reached target"
    reached = [float(row["validation_accuracy"]) >= 0.02 for row in rows]
    assert reached.index(True) == len(rows) - 2  # one chunk more was under way


@pytest.mark.thorough
def test_target_met_at_the_last_evaluation(tmp_path):
    assert run(["--steps", "10", "--eval-every", "10"], tmp_path / "a") == 0
    accuracies = [float(r["validation_accuracy"]) for r in read(tmp_path / "a")[1]]
    assert accuracies[-1] > max(accuracies[:-1])
    options = ["--steps", "10", "--eval-every", "10", "--stop-at", str(accuracies[-1])]
    assert run(options, tmp_path / "b") == 0
    assert read(tmp_path / "b")[0]["status"] == "reached target"


@pytest.mark.thorough
def test_time_per_step_is_not_that_of_compilation(tmp_path):
    assert run(["--steps", "45", "--eval-every", "10"], tmp_path) == 0
    summary = read(tmp_path)[0]
    assert summary["ms_per_step"] < 50
    assert 0 < summary["compile_seconds"] < summary["seconds"]
    assert RunDirectory(tmp_path).compile_seconds() == summary["compile_seconds"]
    assert run(["--steps", "60", "--eval-every", "10"], tmp_path) == 0
    assert read(tmp_path)[0]["compile_seconds"] > summary["compile_seconds"]


@pytest.mark.thorough
def test_main_job_on_a_small_task(tmp_path, capsys):
    task = ModularTask(prime=11, width=16, heads=2)
    assert grok(0, tmp_path, task=task, max_steps=80) == "completed"
    names = ("filter-and-decay", "decay-alone", "neither")
    for name in names:
        assert read(tmp_path / name)[0]["steps"] == 80
    assert (tmp_path / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert "decay alone" in capsys.readouterr().out
    first, *others = (read(tmp_path / name)[1][0] for name in names)
    assert others == [first, first]  # the same weights and the same split


@pytest.mark.thorough
def test_divergence_stops_with_the_step_and_keeps_the_record(tmp_path, capsys):
    options = ["--optimizer", "sgd", "--learning-rate", "1e12", "--warmup-steps", "3"]
    assert run([*options, "--steps", "200"], tmp_path) == 3
    summary, rows = read(tmp_path)
    assert summary["status"] == "diverged"
    assert 1 < summary["diverged_at_step"] < 20
    assert np.isfinite(float(rows[0]["train_loss"]))
    assert summary["parameters_sha256"] is None
    assert "NaN" not in (tmp_path / "summary.json").read_text(encoding="utf-8")
    assert str(summary["diverged_at_step"]) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "modular", "--alpha", "1"], "'--alpha': 1.0 is not in the range"),
        (
            [*SMALL, "--filter", "ema", "--alpha", "nan"],
            "alpha must be finite (in float32), got nan",
        ),
        (["train", "modular", "--filter", "fir"], "must be one of none, ema, ma, got"),
        (["train", "modular", "--prime", "96"], "prime must be a prime number, got 96"),
        (["train", "modular", "--steps", "many"], "'many' is not a valid integer"),
        (["train", "modular", "--alpa", "0.9"], "--alpha"),
        (["train", "modlar"], "modular"),
        (["train", "modular", "--start-step", "3000000000"], "--start-step"),
        (["train", "modular", "--prime", "100000000003"], "--prime"),
        ([*SMALL, "--filter", "ema", "--lamb", "1e39"], "lamb must be finite"),
        ([*SMALL, "--filter", "ema", "--alpha", "0.99999999"], "alpha must be < 1"),
        ([*SMALL, "--filter", "ma", "--window-size", "1000000"], "GiB"),
        (["parity", "no-such-record.npz"], "no-such-record.npz"),
    ],
)
def test_bad_usage_is_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # if it is not refused, it is recorded here
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_parity_of_no_record(tmp_path, capsys):
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 not an archive")
    np.save(tmp_path / "array.npy", np.ones(3))
    for name, message in (
        ("other.npz", "no epoch_perms"),
        ("broken.npz", "is no .npz"),
        ("array.npy", "is no .npz"),
    ):
        assert main(["parity", str(tmp_path / name)]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.thorough
def test_idle_options_are_told(tmp_path, capsys):
    assert run(["--steps", "1", "--alpha", "0.9"], tmp_path) == 0
    assert "--alpha has no effect with --filter none" in capsys.readouterr().err


def test_a_schedule_that_is_cut_off_is_told_unless_a_task_has_it_so():
    assert _cut_off([settings_of(CifarTask())]) == []
    (note,) = _cut_off([settings_of(CifarTask(), steps=100)])
    assert "schedule ends at step 119,255, the run at 100" in note


def test_help_teaches(capsys):
    assert main(["train", "modular", "--help"]) == 0
    text = capsys.readouterr().out
    for word in ("--alpha", "0.98", "0.0<=x<1.0", "Filter:", "--run-dir", "steps"):
        assert word in text


MILESTONES = ("t_fit_99", "t_gen_95", "t_gen_99", "t_gen_95_of_best")


def table(**columns):
    return {name: np.array(values) for name, values in columns.items()}


def test_milestones_are_first_steps():
    steps = [0, 10, 20, 30, 40, 50, 60]
    found = milestones(
        table(
            step=steps,
            train_accuracy=[0, 1, 1, 1, 1, 1, 1],
            validation_accuracy=[0, 0.96, 0.1, 0.2, 0.99, 0.99, 0.999],
            validation_loss=[9, 8, 7, 1, 2, 1, 3],
        ),
        ModularTask.milestones,
    )
    assert found["t_fit_99"] == found["t_fit_99_sustained"] == 10
    assert found["t_gen_95"] == 10  # a spike of one evaluation …
    assert found["t_gen_95_sustained"] == 40  # … is not sustained
    assert found["t_gen_99"] == 40
    assert found["delay"] == 30
    assert (found["min_validation_loss"], found["t_min_validation_loss"]) == (1, 30)
    assert "t_gen_95_of_published" not in found


def test_milestones_out_of_reach_are_relative():
    metrics = table(
        step=[0, 10, 20, 30, 40],
        train_accuracy=[0, 1, 1, 1, 1],
        validation_accuracy=[0.1, 0.7, 0.77, 0.8, 0.8],
        validation_loss=[np.nan, 2, 3, 4, 5],
    )
    found = milestones(metrics, (*OF_ACCURACY, generalised_95_of(0.84)))
    assert found["t_gen_95"] is None
    assert found["t_gen_99"] is None
    assert found["delay"] is None
    assert found["t_gen_95_of_best"] == 20  # 0.76 of 0.8
    assert found["t_gen_95_of_published"] == 30  # 0.798 of 0.84
    assert found["t_min_validation_loss"] == 10
    assert milestones({}, OF_ACCURACY) == {}
