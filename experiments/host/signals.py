"""Ctrl-C and SIGTERM: a request to stop while training, an interrupt elsewhere."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any


@contextlib.contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Turn the first SIGINT or SIGTERM into a request to stop after this chunk."""
    requests: list[int] = []
    previous: dict[int, Any] = {}

    def on_signal(number: int, frame: FrameType | None) -> None:
        del frame
        requests.append(number)
        signal.signal(number, previous[number])

    if _in_main_thread():  # elsewhere signals are not ours to handle
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.signal(number, on_signal)
    try:
        yield lambda: bool(requests)
    finally:
        for handled, handler in previous.items():
            signal.signal(handled, handler)


@contextlib.contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """SIGTERM as Ctrl-C, where training does not handle it: while compiling, say."""
    if not _in_main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
