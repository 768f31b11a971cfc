"""What the environment of a process may be like: notebooks, absent devices, homes."""

import errno
import os
import pwd
import runpy
import sys
import warnings

import jax
import pytest

from experiments.commands import read
from experiments.commands.cli import main
from experiments.methods.named import settings_of
from experiments.records.sweep import SweepDirectory
from tests.support.command_line import error_of, json_of
from tests.support.made_up import record, sweep
from tests.support.tiny import TASK


def test_the_backend_of_a_notebook_is_not_ours(monkeypatch, capsys):
    """It may not be installed; then Matplotlib cannot even be imported."""
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    monkeypatch.setattr(sys, "argv", ["experiments", "--help"])
    with pytest.raises(SystemExit, match=r"^0$"):
        runpy.run_module("experiments", run_name="__main__")
    assert os.environ["MPLBACKEND"] == "agg"
    assert "Train the tasks" in capsys.readouterr().out


def test_a_user_without_a_home(monkeypatch, capsys, tmp_path):
    """As in a container that runs under a number that is no user's there."""

    def unknown(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "XDG_CACHE_HOME", "GROKFAST_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert "set HOME or XDG_CACHE_HOME" in error_of(capsys, "train", "mnist")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError("Unable to initialize backend 'cuda': it is absent."), "absent"),
        (AssertionError(), "none of that kind"),  # so JAX has it of "cuda" on a CPU
    ],
)
def test_a_device_that_is_not_there_is_one_line(monkeypatch, capsys, error, words):
    def absent():
        raise error

    monkeypatch.setattr(jax, "default_backend", absent)
    monkeypatch.setattr(jax, "devices", absent)
    assert main(["sweep", "modular", "--dry-run"]) == 1
    line = capsys.readouterr().err
    assert line.startswith("error: JAX has no device of ")
    assert words in line
    assert line.count("\n") == 1
    monkeypatch.undo()
    monkeypatch.setattr(jax, "default_backend", absent)
    with pytest.raises(type(error)):  # one of ours
        main(["sweep", "modular", "--dry-run"])


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_archives_can_be_read(tmp_path, monkeypatch, capsys, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    settings, curves = (
        settings_of(TASK),
        {"train_loss": [2.0], "validation_loss": [2.0]},
    )
    run = record(tmp_path / "run", settings, curves)
    sweep(tmp_path / "sweep", [(settings, curves)])
    monkeypatch.setattr(read, "plot_curves", refuse)
    monkeypatch.setattr(SweepDirectory, "write_table", refuse)
    code = int(number == errno.ENOSPC)
    assert main(["show", str(run.path)]) == code
    assert main(["show", str(tmp_path / "sweep")]) == code
    captured = capsys.readouterr()
    assert "wrote" not in captured.out
    assert bool(captured.err) == bool(code)
    if not code:
        assert json_of(capsys, "show", tmp_path / "sweep")["lanes"] == 1
