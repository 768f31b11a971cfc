"""How a run may stand, and what the process says of it to the shell."""

import enum


class Status(enum.StrEnum):
    """State of a run; of a summary the first four."""

    COMPLETED = "completed"
    REACHED_TARGET = "reached target"
    DIVERGED = "diverged"
    INTERRUPTED = "interrupted"  # may go on; the three before are final
    NOT_STARTED = "not started"
    RUNNING = "running"
    KILLED = "killed"


UNFINISHED = (Status.INTERRUPTED, Status.NOT_STARTED, Status.RUNNING, Status.KILLED)


class Exit(enum.IntEnum):
    """Exit codes of the command line."""

    DONE = 0
    SYSTEM_ERROR = 1
    USAGE_ERROR = 2
    DIVERGED = 3
    INTERRUPTED = 130


def exit_code(status: str) -> Exit:
    """That of a run's status."""
    codes = {Status.DIVERGED: Exit.DIVERGED, Status.INTERRUPTED: Exit.INTERRUPTED}
    return codes.get(Status(status), Exit.DONE)
