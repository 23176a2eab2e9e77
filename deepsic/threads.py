"""Work on several tiles, or several strips of one, at once."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from deepsic.errors import UsageError

__all__ = ["each", "in_turn", "several", "share", "strips", "thread_count"]

T = TypeVar("T")
R = TypeVar("R")

_LEAST = 8
"""Rows that a thread is worth starting for."""
_AT_ONCE = 16
"""Rows that one thread makes before another takes them."""
_here = threading.local()


def thread_count() -> int:
    """As many threads as torch may use, where it is loaded; else one for each core of ours."""
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "get_num_threads"):
        return int(torch.get_num_threads())
    return _threads_alone()


@cache
def _threads_alone() -> int:
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # "4,2": by level
    return int(asked) if asked.isdecimal() and int(asked) else len(os.sched_getaffinity(0))


@cache
def _pool(threads: int, rows: bool = False) -> ThreadPoolExecutor:
    """Those of `in_turn`, `rows`, are others: what `each` runs may wait for them."""
    return ThreadPoolExecutor(threads, thread_name_prefix="deepsic")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)


def each(call: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """`map` over several threads; each kernel releases the interpreter lock.

    Work that is itself part of such a map isn't split again.
    """
    threads = thread_count()
    if min(threads, len(items)) <= 1 or getattr(_here, "busy", False):
        return [call(item) for item in items]

    def run(item: T) -> R:
        _here.busy = True
        try:
            return call(item)
        finally:
            _here.busy = False

    if len(items) > 2:
        return list(_pool(threads).map(run, items))
    other = _pool(threads - 1).submit(run, items[1])
    return [run(items[0]), other.result()]


def several(given: Iterable[T], what: str) -> list[T]:
    """What is given, as a list. Raises `UsageError` for one thing that happens to have parts."""
    one = isinstance(given, (str, bytes, bytearray, memoryview, os.PathLike))
    if one or not isinstance(given, Iterable) or hasattr(given, "read"):
        raise UsageError(f"give a list of {what}, not one {type(given).__name__}")
    if getattr(given, "ndim", 4) < 4:
        raise UsageError(f"give a list of {what}, or an array or tensor with one axis more")
    return list(given)


def share(parts: int) -> int:
    """Threads for each of some parts that `each` works on."""
    return 1 if getattr(_here, "busy", False) else max(1, thread_count() // parts)


def strips(call: Callable[[int, int], object], rows: int) -> None:
    """`call` on rows 0 .. rows, a strip from top to bottom for each thread."""
    parts = max(1, min(thread_count(), rows // _LEAST))
    edges = [rows * k // parts for k in range(parts + 1)]
    each(lambda k: call(edges[k], edges[k + 1]), range(parts))


def in_turn(
    make: Callable[[int, int], T], take: Callable[[int, int, T], object], rows: range,
    threads: int,
) -> None:  # fmt: skip
    """`make` strips of rows, by several threads, and `take` each here, from the top on.

    While others make strips, this thread takes those that are ready, or else makes the next that
    nobody has begun: what is serial costs little time of its own.
    """
    count, top = len(rows), rows.start
    parts = max(1, count // _AT_ONCE)
    threads = min(threads, parts)
    if threads <= 1:
        take(top, rows.stop, make(top, rows.stop))
        return
    spans = [(top + count * k // parts, top + count * (k + 1) // parts) for k in range(parts)]
    others = [_pool(threads - 1, rows=True).submit(make, *span) for span in spans]
    own: dict[int, T] = {}
    try:
        for k, span in enumerate(spans):
            while k not in own and not others[k].done():
                left = (j for j in range(k, parts) if j not in own)
                free = next((j for j in left if others[j].cancel()), None)
                if free is None:
                    break
                own[free] = make(*spans[free])
            take(*span, own.pop(k) if k in own else others[k].result())
    finally:
        for other in others:
            other.cancel()
