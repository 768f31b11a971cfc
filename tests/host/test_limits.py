"""Disks that are too small, and how sizes are told."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from experiments.commands.cli import main
from experiments.engine.train import initialize
from experiments.files import append_row
from experiments.host import groups, limits
from experiments.host.limits import state_bytes
from experiments.records.checkpoint import Checkpoints
from tests.support.command_line import TINY
from tests.support.tiny import ONE_BLOCK, TASK, config_of

Usage = namedtuple("Usage", "free")
FULL = Path("/dev/full")


@pytest.fixture
def disk(monkeypatch):
    """Set the bytes that are free."""

    def free(size):
        monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(size))

    return free


@pytest.mark.parametrize("options", [{}, {"filter": "ema", "optimizer": "adamw"}])
@pytest.mark.parametrize("task", [ONE_BLOCK, TASK])
def test_a_checkpoint_takes_no_more_than_was_reckoned(tmp_path, task, options):
    config, data = config_of(task, **options), task.load()
    size, state = state_bytes(config, data), initialize(config.traced(), data)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, (0,), state)
    checkpoints.close()
    files = [*(tmp_path / "1").rglob("*")]
    blocks = sum(512 * file.stat().st_blocks for file in files)
    assert size.notes / 2 < blocks <= size.total + size.notes


@pytest.mark.parametrize(
    ("verb", "options", "lanes", "files"),
    [
        ("train", [], 1, 1),
        ("sweep", ["--seeds", "5", "--cores", "2"], 2, 2),
        ("sweep", ["--seeds", "5", "--way", "vmap"], 5, 1),
    ],
)
def test_a_run_refused_leaves_nothing(
    disk, tmp_path, monkeypatch, capsys, verb, options, lanes, files
):
    monkeypatch.setattr(groups, "memory_limit_bytes", lambda: None)  # not compiled
    size = state_bytes(config_of(ONE_BLOCK), ONE_BLOCK.load())
    needed = Checkpoints.COPIES * (lanes * size.total + files * size.notes)
    disk(20_000)
    place = tmp_path / "runs" / "a"
    arguments = [verb, "modular", *TINY, "--heads", "2", *options]
    assert main([*arguments, "--run-dir", str(place)]) == 1
    assert capsys.readouterr().err == (
        f"error: {tmp_path} has 19.53 KiB free, the checkpoints need "
        f"{limits.in_units(needed)}; make room, or choose another --run-dir.\n"
    )
    assert not list(tmp_path.iterdir())


def test_checkpoints_that_are_replaced_are_room(disk, tmp_path):
    old = tmp_path / "checkpoints" / "10"
    old.mkdir(parents=True)
    (old / "state").write_bytes(bytes(1000))
    disk(2000)
    limits.check_disk(tmp_path, 1000, [tmp_path / "checkpoints"])
    with pytest.raises(OSError, match="need 2\\.933 KiB"):
        limits.check_disk(tmp_path / "b", 1001, [])


@pytest.mark.skipif(not FULL.exists(), reason="no disk that is always full")
def test_errors_name_the_file():
    with pytest.raises(OSError, match=f"No space left on device: '{FULL}'"):
        append_row(FULL, ["step"], ["1"])
