"""Sweeps: lanes are runs, however they are trained, stopped and gone on with."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import polars as pl
import pytest

from experiments.commands.cli import main
from experiments.engine.programs import BatchOfLanes
from experiments.host import groups as groups_module
from experiments.host import loop
from experiments.host.groups import groups, lanes_of
from experiments.host.limits import expected_memory
from experiments.host.summary import Timer
from experiments.methods.named import settings_of
from experiments.records.checkpoint import Checkpoints
from experiments.records.run import RunDirectory
from experiments.tasks.modular import ModularTask

TINY = ["modular", "--prime", "11", "--width", "16", "--layers", "1"]
TINY += ["--batch-size", "16", "--eval-every", "10"]
LANES = ["--filter", "ema", "--lamb", "1,5", "--seeds", "2"]
WAYS = ["placed", "vmap", "map"]
START_OVER = "of the lanes that had begun start over"


def sweep(directory, *options, code=0):
    assert main(["sweep", *TINY, *options, "--run-dir", str(directory)]) == code
    return pl.read_parquet(directory / "lanes.parquet")


def lanes(directory):
    return {run.name: RunDirectory(run) for run in (directory / "lanes").iterdir()}


def rows(directory):
    return {
        n: run.metrics_file.read_text(encoding="utf-8")
        for n, run in lanes(directory).items()
    }


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The same sweep in every way."""
    root = tmp_path_factory.mktemp("ways")
    for way in WAYS:
        sweep(root / way, *LANES, "--steps", "60", "--way", way)
    return root


@pytest.mark.thorough
def test_a_lane_is_the_run_alone_bit_for_bit(swept, tmp_path):
    frame = pl.read_parquet(swept / "placed" / "lanes.parquet")
    assert len(frame) == 4
    row = frame.filter((pl.col("lamb") == 5) & (pl.col("seed") == 1)).row(0, named=True)
    alone = RunDirectory(tmp_path / "run")
    options = ["--filter", "ema", "--lamb", "5", "--seed", "1", "--steps", "60"]
    assert main(["train", *TINY, *options, "--run-dir", str(alone.path)]) == 0
    for way in ("placed", "map"):
        assert rows(swept / way)[row["lane"]] == alone.metrics_file.read_text(
            encoding="utf-8"
        )
    assert row["parameters_sha256"] == alone.summary()["parameters_sha256"]
    assert row["final_train_loss"] == alone.summary()["final"]["train_loss"]
    assert alone.config() == RunDirectory(swept / "placed/lanes" / row["lane"]).config()


@pytest.mark.thorough
def test_batched_lanes_are_the_runs_alone_to_rounding(swept):
    placed, batched = lanes(swept / "placed"), lanes(swept / "vmap")
    assert placed.keys() == batched.keys()
    for name, run in placed.items():
        expected, found = run.metrics(), batched[name].metrics()
        until = expected["step"] <= 50
        for column in ("train_loss", "validation_loss", "weight_norm"):
            np.testing.assert_allclose(
                found[column][until], expected[column][until], rtol=1e-5
            )


@pytest.mark.thorough
def test_finished_lanes_leave_records_without_checkpoints(swept):
    for way in WAYS:
        for run in lanes(swept / way).values():
            assert run.summary()["status"] == "completed"
            assert not run.checkpoints.exists()
        assert not list((swept / way / "groups").glob("*"))
        for picture in ("curves.png", "survival.png"):
            contents = (swept / way / picture).read_bytes()
            assert contents.startswith(b"\x89PNG")


@pytest.mark.thorough
def test_nothing_is_compiled_where_nothing_is_left(swept, monkeypatch):
    monkeypatch.delattr(groups_module, "expected_memory")
    for way in WAYS:
        frame = sweep(swept / way, *LANES, "--steps", "60", "--way", way)
        assert set(frame["status"]) == {"completed"}


@pytest.mark.thorough
def test_lanes_share_the_time(swept):
    for way in WAYS:
        frame = pl.read_parquet(swept / way / "lanes.parquet")
        assert (frame["seconds"] > 0).all()
    together = pl.read_parquet(swept / "vmap" / "lanes.parquet")["seconds"]
    assert together.max() < 1.1 * together.min()


def test_time_is_divided_by_the_lanes(monkeypatch):
    clock = iter([0.0, 12.0, 20.0])
    monkeypatch.setattr(
        "experiments.host.summary.time.perf_counter", lambda: next(clock)
    )
    timer = Timer(5.0, 2.0)
    timer.lap(10, lanes=4, compiling=8.0)
    assert (timer.seconds(), timer.compiling()) == (8.0, 4.0)
    timer.lap(20)
    assert (timer.seconds(), timer.compiling()) == (16.0, 4.0)


def test_the_first_call_of_a_program_is_compilation(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr("experiments.host.loop.time.monotonic", lambda: next(clock))
    lanes = loop._Lanes([], None, None, None)
    for slots, program, seconds in [
        ((0, 1), 10, 1),  # the clock ticks once a reading
        ((0, 1), 10, 1),
        ((0, 1), 5, 2),
        ((0,), 10, 3),
        ((1,), 10, 3),
    ]:
        lanes.slots = slots
        with lanes._noting_compilation("advance", program):
            pass
        assert lanes._compiling == seconds


def test_packed_slots_hold_their_lanes():
    task = ModularTask(prime=11, width=16, layers=1)
    lanes = [settings_of(task, seed=seed).config for seed in range(7)]
    program = BatchOfLanes(lanes, task.load())
    whole = program.initialize(program.slots())
    slots, state = program.repack((-1, 1, -1, -1, 4, 5, -1), whole)
    assert len(slots) == 4
    assert sorted(slots) == [-1, 1, 4, 5]
    for slot, lane in enumerate(slots):
        if lane >= 0:
            kernel = state.params["head"]["kernel"][slot]
            np.testing.assert_array_equal(kernel, whole.params["head"]["kernel"][lane])


@pytest.mark.thorough
@pytest.mark.parametrize("way", ["placed", "vmap"])
def test_more_seeds_train_the_new_lanes_alone(tmp_path, way, capsys):
    options = ["--steps", "20", "--way", way]
    sweep(tmp_path, *options, "--seeds", "1")
    (old,) = lanes(tmp_path).values()
    before = old.summary_file.stat().st_mtime_ns
    capsys.readouterr()
    frame = sweep(tmp_path, *options, "--seeds", "3", "--json")
    assert len(frame) == 3
    assert old.summary_file.stat().st_mtime_ns == before
    found = json.loads(capsys.readouterr().out)
    assert found["lanes"] == 3
    assert found["status"] == {"completed": 3}
    sweep(tmp_path, *options, "--seeds", "1", "--force")
    assert old.summary_file.stat().st_mtime_ns > before


@pytest.mark.thorough
def test_lanes_at_their_target_are_left_out(tmp_path, monkeypatch):
    """As early as alone, and the rest packed into half the slots, again and again."""
    options = ["--seeds", "5", "--steps", "200", "--stop-at", "0.12"]
    placed = sweep(tmp_path / "placed", *options, "--way", "placed")
    sizes = []
    advance = BatchOfLanes.advance

    def counted(self, slots, length, state):
        sizes.append((len(slots), sum(lane >= 0 for lane in slots)))
        return advance(self, slots, length, state)

    monkeypatch.setattr(BatchOfLanes, "advance", counted)
    frame = sweep(tmp_path / "vmap", *options, "--way", "vmap")
    assert frame["steps_trained"].to_list() == placed["steps_trained"].to_list()
    assert frame["steps_trained"].n_unique() > 1
    assert frame["status"].is_in(["reached target", "completed"]).all()
    for slots, occupied in sizes:
        assert slots in (5, 3, 2, 1)
        assert slots == 5 or slots <= 2 * occupied
    assert len(set(sizes)) > 1
    total = sum(occupied for _, occupied in sizes)
    assert total == (frame["steps_trained"] / 10).ceil().sum()


@pytest.mark.thorough
@pytest.mark.parametrize("way", ["placed", "vmap"])
def test_a_lane_that_diverged_is_a_result(tmp_path, way, capsys):
    options = ["--learning-rate", "1e-3,1e38", "--steps", "40", "--way", way]
    frame = sweep(tmp_path, *options, "--optimizer", "sgd", "--init-scale", "1,2")
    by_rate = frame.group_by("learning_rate").agg(pl.col("status").unique())
    found = {rate: statuses for rate, statuses in by_rate.iter_rows()}
    assert found == {1e-3: ["completed"], 1e38: ["diverged"]}
    diverged = frame.filter(pl.col("status") == "diverged")
    assert (diverged["diverged_at_step"] < 40).all()
    assert diverged["parameters_sha256"].is_null().all()
    assert "2 diverged" in capsys.readouterr().out


class _Killed(BaseException):
    pass


@pytest.mark.thorough
def test_finished_before_the_kill_stays_and_the_rest_is_the_same(tmp_path, monkeypatch):
    """Killed after a lane was finished, before the checkpoint without it."""
    options = ["--seeds", "4", "--steps", "120", "--stop-at", "0.12", "--way", "vmap"]
    frame = sweep(tmp_path / "whole", *options)
    assert frame["steps_trained"].n_unique() > 1
    save, killed = Checkpoints.save, tmp_path / "killed"

    def dies(self, step, slots, state):
        if -1 in slots or len(slots) < 4:
            self.wait()
            raise _Killed
        save(self, step, slots, state)

    monkeypatch.setattr(Checkpoints, "save", dies)
    with contextlib.suppress(_Killed):
        sweep(killed, *options, "--checkpoint-seconds", "0")
    monkeypatch.undo()
    there = [run for run in lanes(killed).values() if run.summary_file.exists()]
    assert 0 < len(there) < 4
    times = [run.summary_file.stat().st_mtime_ns for run in there]
    sweep(killed, *options)
    assert [run.summary_file.stat().st_mtime_ns for run in there] == times
    assert rows(killed) == rows(tmp_path / "whole")


def interrupt(monkeypatch, directory, options, after):
    """Ctrl-C after so many rows."""
    seen = []
    append = RunDirectory.append

    def interrupts(self, columns, row, *times):
        append(self, columns, row, *times)
        seen.append(row["step"])
        if len(seen) == after:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(RunDirectory, "append", interrupts)
        frame = sweep(directory, *options, code=130)
    return frame


@pytest.mark.thorough
@pytest.mark.parametrize("way", ["placed", "vmap"])
def test_interrupted_sweep_goes_on(tmp_path, monkeypatch, way, capsys):
    options = [*LANES, "--steps", "60", "--way", way, "--cores", "1"]
    sweep(tmp_path / "whole", *options)
    frame = interrupt(monkeypatch, tmp_path / "cut", options, after=10)
    assert "the same command, without --force, goes on" in capsys.readouterr().out
    statuses = set(frame["status"])
    assert "interrupted" in statuses
    assert statuses <= {"interrupted", "completed", "not started"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing starts over
        sweep(tmp_path / "cut", *options)
    assert rows(tmp_path / "cut") == rows(tmp_path / "whole")


@pytest.mark.thorough
@pytest.mark.parametrize("way", ["placed", "map"])
def test_another_way_starts_unfinished_lanes_over(swept, tmp_path, monkeypatch, way):
    """There and back: no lane goes on from a checkpoint that its rows do not reach."""
    options = [*LANES, "--steps", "60", "--cores", "1"]
    other = {"placed": "map", "map": "placed"}[way]
    interrupt(monkeypatch, tmp_path, [*options, "--way", way], after=15)
    with pytest.warns(UserWarning, match=START_OVER):
        interrupt(monkeypatch, tmp_path, [*options, "--way", other], after=6)
    with pytest.warns(UserWarning, match=START_OVER):
        sweep(tmp_path, *options, "--way", way)
    assert rows(tmp_path) == rows(swept / "placed")


@pytest.mark.thorough
def test_other_lanes_in_the_program_start_it_over(tmp_path, monkeypatch):
    """There and back: a checkpoint of the first program would be ahead of the rows."""
    options = ["--steps", "60", "--way", "vmap"]
    sweep(tmp_path / "whole", *options, "--seeds", "2")
    cut = tmp_path / "cut"
    interrupt(monkeypatch, cut, [*options, "--seeds", "2"], after=8)
    with pytest.warns(UserWarning, match=f"2 {START_OVER}"):
        interrupt(monkeypatch, cut, [*options, "--seeds", "3"], after=5)
    assert len(list((cut / "groups").iterdir())) == 1
    with pytest.warns(UserWarning, match=START_OVER):
        sweep(cut, *options, "--seeds", "2")
    there = rows(cut)
    for name, text in rows(tmp_path / "whole").items():
        assert there[name] == text


def test_rows_must_reach_the_checkpoint(tmp_path, monkeypatch, capsys):
    options = ["--steps", "60", "--seeds", "1"]
    interrupt(monkeypatch, tmp_path, options, after=4)
    (run,) = lanes(tmp_path).values()
    lines = run.metrics_file.read_text(encoding="utf-8").splitlines(keepends=True)
    run.metrics_file.write_text("".join(lines[:3]), encoding="utf-8")
    assert main(["sweep", *TINY, *options, "--run-dir", str(tmp_path)]) == 2
    assert "ends at step 10, the checkpoint is of step" in capsys.readouterr().err


def test_a_sweep_under_way_has_milestones_too(tmp_path, monkeypatch):
    options = ["--steps", "400", "--seeds", "1", "--cores", "1"]
    frame = interrupt(monkeypatch, tmp_path, options, after=20)
    (run,) = lanes(tmp_path).values()
    run.summary_file.unlink()  # killed, or running
    assert main(["show", str(tmp_path)]) == 0
    later = pl.read_parquet(tmp_path / "lanes.parquet")
    assert later["t_fit_99"].to_list() == frame["t_fit_99"].to_list()
    assert later["steps_trained"].item() >= 190
    assert later["status"].item() == "interrupted"


def test_lanes_are_compared_by_their_target(tmp_path, capsys):
    options = ["--seeds", "2", "--steps", "60", "--stop-at", "0.01", "--json"]
    frame = sweep(tmp_path, *options)
    found = json.loads(capsys.readouterr().out)
    assert found["milestone"] == "t_target"
    assert found["settings"][0]["reached"] == 2
    assert frame["t_target"].null_count() == 0
    assert frame["t_gen_99"].null_count() == 2


@pytest.mark.slow
def test_real_molecules_in_double_precision(tmp_path, real_data):
    options = ["--steps", "20", "--eval-every", "10", "--dtype", "float64"]
    options += ["--gradient-projections", "2", "--seeds", "2"]
    options += ["--data-dir", str(real_data("qm9").parent)]
    for way in ("placed", "map"):
        directory = ["--run-dir", str(tmp_path / way), "--way", way]
        assert main(["sweep", "qm9", *options, *directory]) == 0
    assert rows(tmp_path / "placed") == rows(tmp_path / "map")


def kill_and_compare(tmp_path, way, kills, steps):
    options = [*LANES, "--way", way, "--steps", str(steps)]
    sweep(tmp_path / "whole", *options)
    command = [sys.executable, "-m", "experiments", "sweep", *TINY, *options]
    command += ["--run-dir", str(tmp_path / "killed"), "--checkpoint-seconds", "0"]
    rng = random.Random(kills)
    for _ in range(kills):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        before = count_rows(tmp_path / "killed")
        while process.poll() is None and count_rows(tmp_path / "killed") < before + 6:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.3))
        process.kill()
        process.wait()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert rows(tmp_path / "killed") == rows(tmp_path / "whole")
    a, b = (
        pl.read_parquet(tmp_path / n / "lanes.parquet") for n in ("killed", "whole")
    )
    assert a.drop("seconds").equals(b.drop("seconds"))


def count_rows(directory):
    files = directory.glob("lanes/*/metrics.csv")
    return sum(file.read_text(encoding="utf-8").count("\n") for file in files)


@pytest.mark.thorough
def test_killed_once(tmp_path):
    kill_and_compare(tmp_path, "vmap", kills=1, steps=300)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_killed_ten_times(tmp_path, way):
    kill_and_compare(tmp_path, way, kills=10, steps=1500)


def test_an_error_of_a_lane_stops_the_others_and_is_told(tmp_path, monkeypatch, capsys):
    append = RunDirectory.append

    def fails(self, columns, row, *times):
        if row["step"] == 20 and "seed1" in self.path.name:
            raise OSError("no space left")
        append(self, columns, row, *times)

    monkeypatch.setattr(RunDirectory, "append", fails)
    arguments = ["sweep", *TINY, "--seeds", "3", "--steps", "100000"]
    assert main([*arguments, "--run-dir", str(tmp_path)]) == 1
    assert "error: no space left" in capsys.readouterr().err


@pytest.mark.thorough
def test_show_tells_of_a_sweep(swept, capsys):
    assert main(["show", str(swept / "placed")]) == 0
    text = capsys.readouterr().out
    assert "4 lanes of modular, 2 settings" in text
    assert main(["list", str(swept / "placed")]) == 0
    assert "4 runs below" in capsys.readouterr().out


@pytest.mark.thorough
def test_groups_agree_in_what_is_static_and_fit_the_memory(monkeypatch, tmp_path):
    task = ModularTask(prime=11, width=16)
    options = {"eval_every": 10, "steps": 20}
    settings = [
        settings_of(task, filter="ma", window_size=w, seed=s, lamb=lamb, **options)
        for s in range(3)
        for w in (5, 50)
        for lamb in (1.0, 2.0)
    ]
    lanes, data = lanes_of(tmp_path, settings), task.load()

    def grouped(lanes):
        return list(groups(lanes, lambda task: data))

    whole = grouped(lanes)
    assert [len(group) for group in whole] == [6, 6]
    for group in whole:
        windows = {lane.settings.config.filters[0].window_size for lane in group}
        assert len(windows) == 1
    need = expected_memory(whole[1][0].settings, data)
    memory = (4 * need.lane + need.data + 1) / groups_module.MEMORY_SHARE
    monkeypatch.setattr(groups_module, "memory_limit_bytes", lambda: memory)
    sizes = [len(group) for group in grouped(lanes)]
    assert sum(sizes) == 12
    assert sizes[-2:] == [4, 2]  # of one window four lanes fit
    longer = [settings_of(task, **options | {"steps": n}) for n in (20, 40)]
    assert len(grouped(lanes_of(tmp_path, longer))) == 2
