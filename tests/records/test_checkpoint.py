"""Restoring checkpoints: only damaged bytes are set aside; all else is told."""

import errno
import logging
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.records import checkpoint
from experiments.records.checkpoint import Checkpoints, quiet_writer
from experiments.records.run import RecordError

STATE = {"a": jnp.arange(4.0), "b": [jnp.ones((4, 2)), jnp.int32(7)]}


def abstract(slots=None, state=STATE):
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])

    def struct(a):
        shape = (len(slots), *a.shape[1:]) if slots and a.ndim else a.shape
        return jax.ShapeDtypeStruct(shape, a.dtype, sharding=sharding)

    return jax.tree.map(struct, state)


@pytest.fixture
def saved(tmp_path):
    """Two checkpoints on the disk."""
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    for step in (10, 20):
        checkpoints.save(step, (0, 1, 2, 3), STATE)
        checkpoints.wait()
    yield checkpoints
    checkpoints.close()


def names(tmp_path):
    steps = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    return steps | {path.name for path in tmp_path.glob("damaged*")}


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory"),
        RuntimeError("a bug"),
        PermissionError(13, "Permission denied"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_healthy_checkpoint_is_not_called_damaged(
    tmp_path, saved, monkeypatch, error
):
    read = saved._read

    def fails(step, **items):
        if "state" in items:
            raise error
        return read(step, **items)

    monkeypatch.setattr(saved, "_read", fails)
    with pytest.raises(type(error)) as raised:
        saved.restore(abstract)
    monkeypatch.undo()
    assert raised.value is error
    assert "is whole" in error.__notes__[-1]
    assert names(tmp_path) == {"10", "20"}
    step, slots, state = saved.restore(abstract)
    assert (step, slots) == (20, (0, 1, 2, 3))
    jax.tree.map(np.testing.assert_array_equal, state, STATE)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (STATE | {"c": jnp.ones(2)}, "lacks c"),
        ({"a": STATE["a"]}, "has b/0, b/1 too"),
        (STATE | {"b": [jnp.ones((4, 3)), jnp.int32(7)]}, None),
    ],
)
def test_a_state_of_another_structure_is_told(tmp_path, saved, state, message):
    wanted = RecordError if message else Exception
    with pytest.raises(wanted, match=message):
        saved.restore(lambda slots: abstract(state=state))
    assert names(tmp_path) == {"10", "20"}


def test_slots_are_padded_to_the_devices_there_are(tmp_path, saved):
    """Four lanes saved, and devices for six."""

    def padded(slots):
        return (*slots, -1, -1)

    step, slots, state = saved.restore(abstract, padded)
    assert (step, slots) == (20, (0, 1, 2, 3, -1, -1))
    assert state["a"].shape == (6,)
    assert state["b"][0].shape == (6, 2)
    np.testing.assert_array_equal(state["a"][:4], STATE["a"])
    assert state["b"][1] == 7
    assert names(tmp_path) == {"10", "20"}


def test_changed_bytes_are_found_when_slots_are_padded(tmp_path, saved, monkeypatch):
    real = checkpoint.tree_sha256
    monkeypatch.setattr(checkpoint, "tree_sha256", lambda tree: "0" * 64)
    third = Checkpoints(tmp_path / "others")
    third.save(5, (0, 1, 2, 3), STATE)
    third.wait()
    monkeypatch.setattr(checkpoint, "tree_sha256", real)
    with (
        pytest.warns(UserWarning, match="contents have changed"),
        pytest.raises(RecordError, match="no checkpoint"),
    ):
        third.restore(abstract, lambda slots: (*slots, -1, -1))
    third.close()


def test_the_writer_is_quiet_only_within_its_context():
    hook, level = sys.unraisablehook, logging.getLogger("absl").level
    with quiet_writer():
        assert sys.unraisablehook is not hook
        assert not logging.getLogger("absl").isEnabledFor(logging.ERROR)
    assert sys.unraisablehook is hook
    assert logging.getLogger("absl").level == level


def test_writers_that_overlap_leave_all_as_it_was():
    """Runs in several threads of one program, which end in any order."""
    hook, level = sys.unraisablehook, logging.getLogger("absl").level
    first, second = quiet_writer(), quiet_writer()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not logging.getLogger("absl").isEnabledFor(logging.ERROR)
    second.__exit__(None, None, None)
    assert sys.unraisablehook is hook
    assert logging.getLogger("absl").level == level


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, "Too many open files"),
        OSError(errno.ESTALE, "Stale file handle"),
        ValueError("RESOURCE_EXHAUSTED: Error opening file"),
        MemoryError(),
    ],
)
def test_what_is_no_fault_of_the_bytes_rises(tmp_path, saved, monkeypatch, error):
    """Wherever it happens while reading."""
    read = saved._read
    for item in ("notes", "state"):

        def fails(step, item=item, **items):
            if item in items:
                raise error
            return read(step, **items)

        monkeypatch.setattr(saved, "_read", fails)
        with pytest.raises(type(error)) as raised:
            saved.restore(abstract)
        assert raised.value is error
    assert names(tmp_path) == {"10", "20"}


def test_late_reports_of_a_failed_write_are_quiet(monkeypatch):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    with pytest.raises(OSError, match="full"), quiet_writer():
        raise OSError("the disk is full")

    class Report:
        exc_value = RuntimeError("Event loop is closed")

    sys.unraisablehook(Report)  # of a thread, after all is over
    assert told == []
    Report.exc_value = RuntimeError("another")
    sys.unraisablehook(Report)
    assert told == [Report]
