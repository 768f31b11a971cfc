"""Locks where the file system has some, and where it has none."""

import errno
import fcntl
import os
import subprocess
import sys

import filelock
import pytest

from experiments.records.run import RecordError, RunDirectory


@pytest.fixture
def run(tmp_path):
    return RunDirectory(tmp_path / "run")


def answer(monkeypatch, name):
    """A file system that answers so."""
    number = getattr(errno, name)

    def flock(file, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


NO_LOCKS = ["ENOLCK", "ENOSYS", "ENOTSUP", "EOPNOTSUPP", "EBADF", "EIO"]
NO_LOCKS += ["EINVAL", "ESTALE"]


@pytest.mark.parametrize("name", NO_LOCKS)
def test_a_lock_that_is_a_file(run, monkeypatch, name, recwarn):
    answer(monkeypatch, name)
    assert not run.is_locked()
    with run.lock():
        assert run.is_locked()
    assert not run.is_locked()
    assert [file.name for file in run.path.iterdir()] == [".lock"]
    assert not recwarn


def test_a_lock_that_is_a_file_keeps_others_out(run, monkeypatch):
    answer(monkeypatch, "ENOLCK")
    with (
        run.lock(),
        pytest.raises(RecordError, match=r"if none runs, .*remove \S+-by-file\."),
        RunDirectory(run.path).lock(),
    ):
        pass


def test_that_of_a_dead_process_is_taken_over(run, monkeypatch):
    answer(monkeypatch, "EBADF")
    run.path.mkdir()
    file = run.path / ".lock-by-file"
    script = (
        f"import filelock, os; lock = filelock.SoftFileLock({str(file)!r}); "
        "lock.acquire(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert file.exists()
    assert not run.is_locked()
    with run.lock():
        assert run.is_locked()
    assert not run.is_locked()


def test_no_lock_at_all_names_the_directory(run, monkeypatch):
    answer(monkeypatch, "EIO")

    def acquire(self, **_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(filelock.SoftFileLock, "acquire", acquire)
    expected = rf"{run.path} cannot be locked \(.+; then Input/output error\); choose a"
    with pytest.raises(OSError, match=expected), run.lock():
        pass
    assert not run.is_locked()


def test_whatever_else_is_answered_names_the_directory_and_leaves_nothing(
    run, monkeypatch
):
    """Each of them: these may be answered where another process holds the lock."""
    named = {getattr(errno, name) for name in NO_LOCKS}
    held = {errno.EAGAIN, errno.EACCES}  # so POSIX has it of a lock that is held
    for number in set(errno.errorcode) - named - held:
        answer(monkeypatch, errno.errorcode[number])
        with (
            pytest.raises(OSError, match=f"{run.path} cannot be locked .* choose a"),
            run.lock(),
        ):
            pass
        assert not run.path.exists()


def test_a_refused_lock_leaves_what_was_there(run, monkeypatch):
    run.path.mkdir()
    (run.path / ".lock").touch()
    answer(monkeypatch, "ENOMEM")
    with pytest.raises(OSError, match="Cannot allocate memory"), run.lock():
        pass
    assert (run.path / ".lock").exists()
