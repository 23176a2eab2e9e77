"""A time limit for one picture, held against Python and native code alike."""

from __future__ import annotations

import contextlib
import faulthandler
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

__all__ = ["TimeLimitError", "time_limit"]

#: Native code that ignores the alarm gets this many times the limit, then the process ends: the
#: driver sees a worker die and narrows down which picture did it.
HARD_FACTOR = 4


class TimeLimitError(Exception):
    """The block took longer than it may."""


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TimeLimitError` in the block after `seconds` (0: no limit).

    Works in the main thread, where Ray runs tasks; elsewhere there is no limit.
    """
    if not seconds or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise TimeLimitError(f"took longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    faulthandler.dump_traceback_later(seconds * HARD_FACTOR, exit=True, file=sys.__stderr__ or 2)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
