"""Time limits for images, one after another, held against Python and native code alike."""

from __future__ import annotations

import contextlib
import faulthandler
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

__all__ = ["OutOfTimeError", "TimeLimit", "time_limits"]

#: Native code that ignores the alarm gets between once and twice this many times an image's
#: limit, then the process ends: the driver sees a worker die and narrows down which image did
#: it. More than the images of a batch.
HARD_FACTOR = 10


class OutOfTimeError(Exception):
    """The block took longer than it may."""


@contextlib.contextmanager
def time_limits(seconds: float) -> Iterator[TimeLimit]:
    """Give the limit of `seconds` an image (0: none), for blocks of work that follow closely.

    Between them the process stays watched: `TimeLimit.rest` before waiting for anything else.
    Works in the main thread, where Ray runs tasks; elsewhere there is no limit.
    """
    here = threading.current_thread() is threading.main_thread()
    limit = TimeLimit(seconds if here else 0)
    try:
        yield limit
    finally:
        limit.rest()


class TimeLimit:
    """Gives blocks of work their time; made by `time_limits`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._watched_until = 0.0

    @contextlib.contextmanager
    def block(self, images: int = 1) -> Iterator[None]:
        """Give the block the time of so many images, at most `HARD_FACTOR`.

        Raises: `OutOfTimeError` in the block when that is over.
        """
        if not self._seconds:
            yield
            return
        seconds = images * self._seconds

        def ring(number: int, frame: FrameType | None) -> None:
            raise OutOfTimeError(f"took longer than {seconds:g} s")

        self._watch()
        before = signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def _watch(self) -> None:
        # The watchdog is a thread: to stop and start it for every image costs more than to
        # decode a small one.
        hard = HARD_FACTOR * self._seconds
        now = time.monotonic()
        if self._watched_until < now + hard:
            self._watched_until = now + 2 * hard
            faulthandler.dump_traceback_later(2 * hard, exit=True, file=sys.__stderr__ or 2)

    def rest(self) -> None:
        """Stop watching until the next block: who waits for a store or for work may live."""
        if self._watched_until:
            faulthandler.cancel_dump_traceback_later()
            self._watched_until = 0.0
