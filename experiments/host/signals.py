"""Ctrl-C, SIGTERM, a closed terminal: a request to stop; an interrupt elsewhere."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any


@contextlib.contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Turn these signals into a request to stop after this chunk, saved.

    Only a second Ctrl-C is an interrupt: who closes a terminal may send several of the
    others, and the run must still be saved.
    """
    requests: list[int] = []
    previous: dict[int, Any] = {}

    def on_signal(number: int, frame: FrameType | None) -> None:
        del frame
        requests.append(number)
        if number == signal.SIGINT:
            signal.signal(number, previous[number])

    for number in [signal.SIGINT, *_ends()]:
        if _in_main_thread():  # elsewhere signals are not ours to handle
            previous[number] = signal.signal(number, on_signal)
    try:
        yield lambda: bool(requests)
    finally:
        for handled, handler in previous.items():
            signal.signal(handled, handler)


@contextlib.contextmanager
def ends_as_interrupts() -> Iterator[None]:
    """The others as Ctrl-C, where training does not handle them: while compiling."""
    if not _in_main_thread():
        yield
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        for each in previous:  # one is enough
            signal.signal(each, signal.SIG_IGN)
        signal.default_int_handler(number, frame)

    previous = {n: signal.signal(n, on_signal) for n in _ends()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _ends() -> list[int]:
    """Signals beside Ctrl-C that end a process: SIGTERM, and SIGHUP but with nohup."""
    hangup = getattr(signal, "SIGHUP", None)  # not on Windows
    if hangup is None or signal.getsignal(hangup) == signal.SIG_IGN:
        return [signal.SIGTERM]
    return [signal.SIGTERM, hangup]


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
