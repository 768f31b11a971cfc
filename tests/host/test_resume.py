"""Nothing is lost: kills, interrupts, damaged checkpoints, other processes."""

import concurrent.futures
import itertools
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.commands.cli import main
from experiments.host import loop
from experiments.host.signals import ends_as_interrupts, stop_requests
from experiments.records import checkpoint
from experiments.records.checkpoint import Checkpoints
from tests.support.tiny import read

BASE = ["train", "modular", "--prime", "11", "--width", "16", "--batch-size", "16"]
FILTERS = {
    "none": [],
    "ema": ["--filter", "ema"],
    "ma": ["--filter", "ma", "--window-size", "30"],
}


def train(directory, *options):
    return main([*BASE, "--run-dir", str(directory), *options])


def assert_same_run(directory, other):
    (a, rows), (b, other_rows) = read(directory), read(other)
    assert rows == other_rows
    assert a["parameters_sha256"] == b["parameters_sha256"]
    assert a["status"] == b["status"]


def start(directory, *options):
    command = [sys.executable, "-m", "experiments", *BASE, *options]
    return subprocess.Popen(
        [*command, "--run-dir", str(directory)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def rows_in(directory):
    metrics = directory / "metrics.csv"
    return metrics.read_text(encoding="utf-8").count("\n") if metrics.exists() else 0


def kill_often(directory, options, kills):
    """Kill -9 at random moments; then let it finish.

    Most kills come after some progress, every fourth at any moment of the start.
    """
    rng = random.Random(kills)
    for kill in range(kills):
        process, before = start(directory, *options), rows_in(directory)
        if kill % 4 == 3:
            time.sleep(rng.uniform(1, 6))
        else:
            while process.poll() is None and rows_in(directory) <= before + 2:
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 0.4))
        if process.poll() is not None:
            assert process.returncode == 0, process.stderr.read().decode()
            break
        process.kill()
        process.wait()
    process = start(directory, *options)
    assert process.wait() == 0, process.stderr.read().decode()


def check_kills(tmp_path, name, kills, steps):
    options = [*FILTERS[name], "--steps", str(steps), "--eval-every", "20"]
    assert train(tmp_path / "whole", *options) == 0
    often = [*options, "--checkpoint-seconds", "0.1"]
    kill_often(tmp_path / "killed", often, kills)
    assert_same_run(tmp_path / "killed", tmp_path / "whole")
    timing = np.genfromtxt(
        tmp_path / "killed" / "timing.csv", delimiter=",", names=True
    )
    assert (np.diff(timing["seconds"]) >= 0).all()  # cumulative over resumes


@pytest.mark.thorough
def test_two_kills(tmp_path):
    check_kills(tmp_path, "ma", kills=2, steps=1000)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILTERS)
def test_twenty_kills(tmp_path, name):
    check_kills(tmp_path, name, kills=20, steps=6000)


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.thorough)]
)
def test_interrupted_run_goes_on(tmp_path, number):
    options = ["--filter", "ema", "--steps", "6000", "--eval-every", "20"]
    process = start(tmp_path / "a", *options)
    while rows_in(tmp_path / "a") < 5:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    assert process.wait(timeout=60) == 130
    summary, rows = read(tmp_path / "a")
    assert summary["status"] == "interrupted"
    assert summary["steps"] == int(rows.splitlines()[-1].split(",")[0]) < 6000
    assert (tmp_path / "a" / "curves.png").exists()
    assert train(tmp_path / "a", *options) == 0
    assert train(tmp_path / "b", *options) == 0
    assert_same_run(tmp_path / "a", tmp_path / "b")


@pytest.mark.thorough
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_terminal_that_says_twice_that_it_closes(tmp_path, number):
    process = start(tmp_path / "a", "--steps", "6000", "--eval-every", "20")
    while rows_in(tmp_path / "a") < 5:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    time.sleep(0.01)
    process.send_signal(number)
    assert process.wait(timeout=60) == 130
    assert process.stderr.read() == b""
    summary, _ = read(tmp_path / "a")
    assert summary["status"] == "interrupted"
    assert (tmp_path / "a" / "checkpoints" / str(summary["steps"])).is_dir()


@pytest.mark.usefixtures("ctrl_c_interrupts")
def test_only_a_second_ctrl_c_interrupts_what_is_being_saved():
    with stop_requests() as is_requested:
        for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM, signal.SIGTERM):
            os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGINT)
        assert is_requested()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_one_signal_is_enough_while_training_does_not_handle_them():
    with ends_as_interrupts():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGHUP)
        for number in (signal.SIGHUP, signal.SIGTERM):  # no second interrupt
            os.kill(os.getpid(), number)


def test_what_goes_on_is_told_where_there_is_a_checkpoint(
    tmp_path, monkeypatch, capsys
):
    def closed(*_, **__):
        os.kill(os.getpid(), signal.SIGHUP)

    before = signal.getsignal(signal.SIGHUP)
    monkeypatch.setattr(loop, "train", closed)
    assert train(tmp_path / "a", "--steps", "10") == 130
    assert capsys.readouterr().err.split("\n")[-2] == "Interrupted"
    (tmp_path / "a" / "checkpoints" / "5.orbax-checkpoint-tmp").mkdir(parents=True)
    (tmp_path / "a" / "metrics.csv").touch()
    assert train(tmp_path / "a", "--steps", "10") == 130
    assert capsys.readouterr().err.split("\n")[-2] == "Interrupted"
    (tmp_path / "a" / "checkpoints" / "5").mkdir()
    assert train(tmp_path / "a", "--steps", "10") == 130
    assert capsys.readouterr().err.split("\n")[-2] == (
        "Interrupted: the same command, without --force, goes on."
    )
    assert signal.getsignal(signal.SIGHUP) == before


SHORT = ["--steps", "40", "--eval-every", "10", "--checkpoint-steps", "10"]


KILL_BEFORE_CHANGE = """
import itertools, os, pathlib, sys, threading

def deadly(original):
    def change(first, *args, **kwargs):
        ours = threading.current_thread() is threading.main_thread()
        if ours and "checkpoints" not in str(first) and next(count) == number:
            os._exit(9)  # as kill -9: no cleanup, the writer's threads cut off
        return original(first, *args, **kwargs)
    return change

number, count = int(sys.argv[1]), itertools.count()
os.replace, os.fsync = deadly(os.replace), deadly(os.fsync)
pathlib.Path.unlink = deadly(pathlib.Path.unlink)
from experiments.commands.cli import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("added", [False, True])
def test_killed_before_any_change_of_a_file(tmp_path, added):
    """At each fsync, rename and removal, of a whole run or of one that goes on."""
    assert train(tmp_path / "b", *SHORT) == 0
    for number in itertools.count():
        directory = tmp_path / f"a{number}"
        if added:
            assert train(directory, "--steps", "20", "--eval-every", "10") == 0
        options = [*BASE, *SHORT, "--run-dir", str(directory)]
        process = subprocess.run(
            [sys.executable, "-c", KILL_BEFORE_CHANGE, str(number), *options],
            capture_output=True,
        )
        if process.returncode == 0:  # it came to its end before
            break
        assert process.returncode == 9, process.stderr.decode()
        assert train(directory, *SHORT) == 0
        assert_same_run(directory, tmp_path / "b")
    assert number > 12


@pytest.mark.thorough
def test_finished_run_prints_its_summary_and_more_steps_go_on(tmp_path, capsys):
    assert train(tmp_path / "a", "--steps", "20", "--eval-every", "10") == 0
    before = read(tmp_path / "a")
    capsys.readouterr()
    assert train(tmp_path / "a", "--steps", "20", "--eval-every", "10") == 0
    assert "finished" in capsys.readouterr().out
    assert read(tmp_path / "a") == before
    assert train(tmp_path / "a", *SHORT) == 0
    assert read(tmp_path / "a")[0]["started"] == before[0]["started"]
    assert train(tmp_path / "b", *SHORT) == 0
    assert_same_run(tmp_path / "a", tmp_path / "b")


@pytest.mark.thorough
def test_other_settings_are_refused_with_the_difference(tmp_path, capsys):
    assert train(tmp_path, *SHORT) == 0
    assert train(tmp_path, *SHORT, "--learning-rate", "0.01", "--seed", "3") == 2
    error = capsys.readouterr().err
    assert "seed: 0 → 3" in error
    assert "learning_rate: 0.001 → 0.01" in error
    assert "--force" in error
    assert train(tmp_path, "--steps", "20", "--eval-every", "10") == 2
    assert "steps: 40 → 20" in capsys.readouterr().err
    assert train(tmp_path, *SHORT, "--seed", "3", "--force") == 0


def damage(checkpoint):
    for file in checkpoint.rglob("*"):
        if file.is_file() and file.stat().st_size > 300:
            file.write_bytes(file.read_bytes()[:100])


def empty(checkpoint):
    for child in checkpoint.iterdir():
        shutil.rmtree(child) if child.is_dir() else child.unlink()


def flip_bits(checkpoint):
    """In every data file, one bit in 64 bytes: a single one may lie in unused space."""
    for file in checkpoint.rglob("d/*"):
        contents = bytearray(file.read_bytes())
        for position in range(len(contents) // 4, len(contents), 64):
            contents[position] ^= 1
        file.write_bytes(contents)


@pytest.mark.thorough
@pytest.mark.parametrize("harm", [damage, empty, flip_bits])
def test_damaged_checkpoint_is_set_aside(tmp_path, harm):
    assert train(tmp_path / "a", *SHORT) == 0
    assert train(tmp_path / "b", *SHORT) == 0
    for _ in range(2):  # twice: the name of the first must not be in the way
        harm(tmp_path / "a" / "checkpoints" / "40")
        (tmp_path / "a" / "summary.json").unlink()  # as if killed before the end
        with (tmp_path / "a" / "metrics.csv").open("a", encoding="utf-8") as file:
            file.write("50,0.1,0")  # and within a row
        with pytest.warns(UserWarning, match="checkpoint 40 cannot be read"):
            assert train(tmp_path / "a", *SHORT) == 0
        assert_same_run(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a" / "damaged-checkpoint-40-2").is_dir()


@pytest.mark.filterwarnings("ignore:checkpoint")
def test_no_whole_checkpoint_is_told(tmp_path, capsys):
    assert train(tmp_path, *SHORT) == 0
    for step in (tmp_path / "checkpoints").iterdir():
        damage(step)
    (tmp_path / "summary.json").unlink()
    rows = (tmp_path / "metrics.csv").read_text(encoding="utf-8")
    assert train(tmp_path, *SHORT) == 2
    assert "--force starts over" in capsys.readouterr().err
    assert (tmp_path / "metrics.csv").read_text(encoding="utf-8") == rows
    assert train(tmp_path, *SHORT, "--force") == 0


@pytest.mark.thorough
def test_killed_while_steps_were_being_added(tmp_path):
    """The new settings are on the disk, the old summary too or not any more."""
    for directory in (tmp_path / "a", tmp_path / "b"):
        assert train(directory, "--steps", "20", "--eval-every", "10") == 0
        text = (
            (directory / "config.json")
            .read_text(encoding="utf-8")
            .replace(": 20,", ": 40,")
        )
        (directory / "config.json").write_text(text, encoding="utf-8")
    (tmp_path / "b" / "summary.json").unlink()
    for directory in (tmp_path / "a", tmp_path / "b"):
        assert train(directory, *SHORT) == 0
        assert read(directory)[0]["steps"] == 40


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["metrics.csv", "timing.csv"])
def test_killed_before_the_first_row_was_written(tmp_path, name):
    assert train(tmp_path / "b", *SHORT) == 0
    (tmp_path / "a").mkdir()
    config = (tmp_path / "b" / "config.json").read_text(encoding="utf-8")
    (tmp_path / "a" / "config.json").write_text(config, encoding="utf-8")
    (tmp_path / "a" / name).write_text("", encoding="utf-8")
    assert train(tmp_path / "a", *SHORT) == 0
    assert_same_run(tmp_path / "a", tmp_path / "b")


def test_files_of_others_are_left_alone(tmp_path, capsys):
    (tmp_path / "config.json").write_text('{"theirs": 1}', encoding="utf-8")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "model.bin").write_text("theirs", encoding="utf-8")
    assert train(tmp_path, *SHORT) == 2
    assert "checkpoints without metrics.csv" in capsys.readouterr().err
    (tmp_path / "checkpoints" / "model.bin").unlink()
    assert train(tmp_path, *SHORT) == 2
    assert "is not that of a run" in capsys.readouterr().err
    assert (tmp_path / "config.json").read_text(encoding="utf-8") == '{"theirs": 1}'


@pytest.mark.thorough
def test_more_steps_after_an_end_off_the_grid(tmp_path):
    assert train(tmp_path / "a", "--steps", "25", "--eval-every", "10") == 0
    assert train(tmp_path / "a", *SHORT) == 0
    assert train(tmp_path / "b", *SHORT) == 0
    assert_same_run(tmp_path / "a", tmp_path / "b")


def test_target_is_met_at_the_same_step_whatever_the_checkpoints(tmp_path):
    options = ["--steps", "900", "--eval-every", "10", "--stop-at", "0.08"]
    assert train(tmp_path / "a", *options) == 0
    assert train(tmp_path / "b", *options, "--checkpoint-steps", "10") == 0
    assert_same_run(tmp_path / "a", tmp_path / "b")
    assert read(tmp_path / "a")[0]["status"] == "reached target"


@pytest.mark.thorough
def test_directory_in_use_is_refused(tmp_path, capsys):
    process = start(tmp_path, "--steps", "1000000")
    while rows_in(tmp_path) < 2:
        assert process.poll() is None
        time.sleep(0.02)
    assert train(tmp_path, "--steps", "1000000") == 2
    assert "in use by another process" in capsys.readouterr().err
    process.kill()
    process.wait()


def test_unwritable_directory_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert train(tmp_path / "file" / "run", "--steps", "20") == 1
    assert capsys.readouterr().err.count("\n") == 1


def on_full_disk(*options):
    """A file size limit stands in for a full disk: writes beyond it fail."""
    script = (
        "import resource, runpy, signal;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, -1));"
        "runpy.run_module('experiments', run_name='__main__')"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, *options],
        capture_output=True,
        encoding="utf-8",
        env=os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"},
        timeout=200,
    )
    assert result.returncode == 1
    assert re.fullmatch(
        r"error: cannot write a checkpoint to \S+/checkpoints: "
        r"Failed to write \d+ bytes to file \d+: File too large\n",
        result.stderr,
    )


@pytest.mark.thorough
def test_full_disk_keeps_what_was_written(tmp_path):
    on_full_disk(*BASE, "--run-dir", str(tmp_path / "a"), *SHORT)
    assert not list(tmp_path.glob("a/checkpoints/*.orbax-checkpoint-tmp"))
    assert train(tmp_path / "a", *SHORT) == 0  # with room again, it goes on
    assert train(tmp_path / "b", *SHORT) == 0
    assert_same_run(tmp_path / "a", tmp_path / "b")


@pytest.mark.slow
def test_full_disk_ends_a_sweep(tmp_path):
    options = ["--seeds", "2", "--run-dir", str(tmp_path), "--steps", "3000"]
    on_full_disk("sweep", *BASE[1:], *options, "--checkpoint-seconds", "0.5")


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (
            'OUT_OF_RANGE: Error writing "w/0" in OCDBT database at "/a [1]/": '
            'Failed writing: "/a [1]/d": Failed to write 16396 bytes to file 15: '
            "No space left [os_error_code='28'] [tensorstore_spec='{\"path\": \"a\"}']",
            "Failed to write 16396 bytes to file 15: No space left",
        ),
        ("[Errno 13] Permission denied: '/a'", "[Errno 13] Permission denied: '/a'"),
        ("first\nsecond", "first"),
        ("", "RuntimeError"),
    ],
)
def test_errors_of_the_writer_are_one_line(message, reason, tmp_path):
    expected = f"cannot write a checkpoint to {tmp_path}: {reason}"
    with (
        pytest.raises(OSError, match=f"^{re.escape(expected)}$"),
        checkpoint._write_errors(tmp_path),
    ):
        raise RuntimeError(message)


def test_lanes_that_save_at_once(tmp_path):
    """Each in a thread of its own, as in a sweep."""

    def save(lane):
        checkpoints = Checkpoints(tmp_path / str(lane))
        for step in range(5):
            checkpoints.save(step, (lane,), {"x": jnp.full(3, lane + step / 8)})
            checkpoints.wait()
        abstract = {"x": jax.ShapeDtypeStruct((3,), jnp.float32)}
        found = checkpoints.restore(lambda slots: abstract)
        checkpoints.close()
        return found

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        results = list(pool.map(save, range(4)))
    for lane, (step, slots, state) in enumerate(results):
        assert (step, slots) == (4, (lane,))
        np.testing.assert_array_equal(state["x"], lane + 0.5)
