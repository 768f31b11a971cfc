"""A record's rows, names and locks."""

import datetime
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from experiments import files
from experiments.commands.cli import main
from experiments.methods.named import settings_of
from experiments.records import provenance
from experiments.records.run import RecordError, RunDirectory, place_of
from experiments.records.sweep import SweepDirectory
from experiments.settings.flat import changes, first_names, run_name, values_of
from experiments.settings.options import option, options
from experiments.tasks.mnist import MnistTask
from experiments.tasks.modular import ModularTask

TASK = ModularTask(prime=11, width=16)
COLUMNS = ("step", "train_loss", "validation_loss", "weight_norm")


def row(step, **more):
    return {name: np.float32(step) for name in COLUMNS} | {"step": step} | more


@pytest.fixture
def run(tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()
    return run


def test_a_row_with_other_columns_is_refused_and_nothing_is_lost(run):
    columns = run.columns(COLUMNS)
    run.append(columns, row(0), 0.0)
    before = (
        run.metrics_file.read_text(encoding="utf-8"),
        run.timing_file.read_text(encoding="utf-8"),
    )
    more = row(10, gradient_norm=np.float32(1))
    less = {name: value for name, value in row(10).items() if name != "weight_norm"}
    renamed = less | {"norm": np.float32(3)}  # as many as there should be
    for other in (more, less, renamed):
        with pytest.raises(RecordError, match=r"metrics\.csv must have the columns"):
            run.append(columns, other, 1.0)
    assert (
        run.metrics_file.read_text(encoding="utf-8"),
        run.timing_file.read_text(encoding="utf-8"),
    ) == before
    run.append(columns, dict(reversed(row(10).items())), 1.0)  # their order is free
    np.testing.assert_array_equal(run.metrics()["weight_norm"], [0, 10])


def test_a_resumed_run_with_other_columns_is_refused(run):
    run.append(run.columns(COLUMNS), row(0), 0.0)
    assert run.columns(tuple(reversed(COLUMNS))) == run.columns(COLUMNS)
    with pytest.raises(RecordError, match=r"would write f1"):
        run.columns((*COLUMNS, "f1"))


def test_json_knows_no_nan():
    value = {"a": [float("nan"), (1.0, np.float32("inf"))], "b": np.array([np.nan, 2])}
    found = json.loads(files.json_text(value))
    assert found == {"a": [None, [1, None]], "b": [None, 2]}


def test_a_new_option_renames_no_run_and_needs_no_entry():
    settings = settings_of(TASK, filter="ema", steps=20)
    name, recorded = run_name(settings), values_of(settings)

    @options
    class Newer(ModularTask):
        dropout: float = option(0.0, "New since.")

    newer = Newer(prime=11, width=16)
    assert run_name(settings_of(newer, filter="ema", steps=20)) == name
    assert changes(recorded, settings_of(newer, filter="ema", steps=20)) == []
    changed = Newer(prime=11, width=16, dropout=0.5)
    assert changes(recorded, settings_of(changed, filter="ema")) == [
        ("dropout", 0.0, 0.5),
        ("steps", 20, 3000),
    ]
    assert run_name(settings_of(changed, filter="ema", steps=20)) != name


def test_names_are_of_what_differs_and_has_an_effect():
    names = [
        run_name(settings_of(TASK, **values))
        for values in (
            {},
            {"steps": 7},
            {"alpha": 0.5},
            {"learning_rate": 1e-3},
            {"filter": "none"},
        )
    ]
    assert len(set(names)) == 1
    assert run_name(settings_of(TASK, eval_every=7)) != names[0]
    assert run_name(settings_of(TASK, filter="ema")) != names[0]
    chain = run_name(settings_of(TASK, filter="ema+ma:window_size=3"))
    assert chain.startswith("modular-ema+ma-seed0-")
    assert chain != run_name(settings_of(TASK, filter="ema+ma:window_size=4"))


@pytest.mark.parametrize(
    ("task", "values", "name"),
    [  # given by the version of then
        (ModularTask(prime=11, width=16, layers=1), {"eval_every": 20}, "e5bf9a86"),
        (MnistTask(), {"filter": "ma", "window_size": 3}, "8796d5d2"),
    ],
)
def test_first_names(task, values, name):
    settings = settings_of(task, **values)
    names = [each.rsplit("-", 1)[1] for each in first_names(settings)]
    assert name in names
    assert name not in run_name(settings)
    assert first_names(settings_of(task, optimizer="lion")) == []
    assert first_names(settings_of(task, schedule="cosine")) == []


def test_a_run_of_an_earlier_name_is_found(tmp_path):
    settings = settings_of(TASK)
    assert place_of(tmp_path, settings).path.name == run_name(settings)
    (first,) = first_names(settings)
    (tmp_path / first).mkdir()
    assert place_of(tmp_path, settings).path.name == first
    (tmp_path / run_name(settings)).mkdir()
    assert place_of(tmp_path, settings).path.name == run_name(settings)


@pytest.mark.thorough
def test_a_refused_process_changes_nothing_of_a_sweep(tmp_path):
    """Another one trains it: its list of lanes is its own."""
    tiny = ["modular", "--prime", "11", "--width", "16", "--layers", "1"]
    sweep = SweepDirectory(tmp_path)
    with RunDirectory(tmp_path).lock():
        sweep.write_plan([], "the other's")
        before = sweep.plan_file.read_text(encoding="utf-8")
        script = (
            "import sys; from experiments.commands.cli import main; "
            "sys.exit(main(sys.argv[1:]))"
        )
        command = ["sweep", *tiny, "--seeds", "2", "--steps", "5"]
        result = subprocess.run(
            [sys.executable, "-c", script, *command, "--run-dir", str(tmp_path)],
            capture_output=True,
            encoding="utf-8",
            env=os.environ,
        )
        assert result.returncode == 2
        assert "in use by another process" in result.stderr
        assert sweep.plan_file.read_text(encoding="utf-8") == before
    assert main([*command, "--run-dir", str(tmp_path)]) == 0
    assert sweep.plan_file.read_text(encoding="utf-8") != before


def test_memory_is_that_of_the_control_group(tmp_path):
    """A container's limit, of either version, at any level above the process."""
    own, root = tmp_path / "cgroup", tmp_path / "fs"
    limits = {
        "fs/memory.max": "8000",
        "fs/job/memory.max": "max",
        "fs/job/step/memory.max": "5000",
        "fs/other/memory.max": "10",
        "fs/memory/old/memory.limit_in_bytes": "6000",
    }
    for name, value in limits.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{value}\n", encoding="utf-8")
    own.write_text("0::/job/step\n", encoding="utf-8")
    assert min(provenance._cgroup_limits(own, root)) == 5000
    own.write_text("4:memory:/old\n3:cpu:/other\n", encoding="utf-8")
    assert min(provenance._cgroup_limits(own, root)) == 6000
    assert provenance._cgroup_limits(tmp_path / "none", tmp_path / "none") == []
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert provenance.memory_limit_bytes() <= machine


def test_memory_limit_is_the_smaller_one(monkeypatch):
    monkeypatch.setattr(provenance, "_cgroup_limits", lambda: [12345])
    assert provenance.memory_limit_bytes() == 12345


def test_a_record_says_when_and_from_which_source_it_was_begun(run):
    settings = settings_of(TASK)
    assert run.prepare(settings)
    assert run.begun() == {}  # as in records of earlier versions
    run.begin("aaa", anew=True)
    first = run.begun()
    assert datetime.datetime.fromisoformat(first["started"]).utcoffset().seconds == 0
    assert first["revisions"] == ["aaa"]
    run.append(run.columns(COLUMNS), row(0), 0.0)
    assert run.prepare(settings)  # the same settings: it goes on
    for revision in ("aaa", "aaa modified", None):
        run.begin(revision, anew=False)
    assert run.begun()["started"] == first["started"]
    assert run.begun()["revisions"] == ["aaa", "aaa modified", None]
    assert run.config() == values_of(settings)
    assert run.prepare(settings, force=True)
    assert run.begun() == {}
    run.begin("bbb", anew=False)  # goes on where nothing had been noted
    assert run.begun() == {"started": None, "revisions": [None, "bbb"]}


def test_the_revision_is_that_of_a_checkout(tmp_path, monkeypatch):
    revision = provenance.revision.__wrapped__
    inner = tmp_path / "site-packages"
    inner.mkdir()
    if shutil.which("git"):
        git = ["git", "-c", "user.name=n", "-c", "user.email=e", "-C", str(tmp_path)]
        (tmp_path / "file").write_text("a", encoding="utf-8")
        for command in (["init", "-q"], ["add", "file"], ["commit", "-qm", "first"]):
            subprocess.run([*git, *command], check=True)
        clean = revision(tmp_path)
        assert re.fullmatch("[0-9a-f]{40}", clean)
        (tmp_path / "file").write_text("b", encoding="utf-8")
        assert revision(tmp_path) == f"{clean} modified"
    assert revision(inner) is None  # another project's checkout around it
    monkeypatch.setenv("PATH", "")
    (tmp_path / ".git").mkdir(exist_ok=True)
    assert revision(tmp_path) is None


def test_a_run_goes_on_with_the_data_that_it_was_begun_on(run):
    settings = settings_of(TASK)
    first, other = (provenance.tree_sha256({"images": np.arange(n)}) for n in (3, 4))
    assert first != other
    assert run.prepare(settings)  # as earlier versions did: nothing was noted
    run.append(run.columns(COLUMNS), row(0), 0.0)
    run.check_data(other)
    assert run.prepare(settings, first)
    run.begin(None, anew=True)
    assert run.prepare(settings, first)
    before = run.config_file.read_bytes()
    with pytest.raises(RecordError, match=f"{first}, that of these is {other}"):
        run.prepare(settings, other)
    assert run.config_file.read_bytes() == before
    assert run.config() == values_of(settings)
    assert run.prepare(settings, other, force=True)
    run.check_data(other)
