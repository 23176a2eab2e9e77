"""What a stage says while it runs: a bar for a person, JSON lines for a log.

On a terminal, progress is a rich bar on stderr. Elsewhere (a job's log, a pipe) it is one JSON
object a line on stderr every ten seconds and one at the end:

    {"stage": "evaluate", "done": 120, "total": 500, "failed": 1, "per_second": 4.2, "eta_s": 90}

Results (tables, the path of what was made) go to stdout.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from deepsic.cli.progress import new_bar

__all__ = ["Counter", "error", "progress", "say", "table"]

EVERY_SECONDS = 10.0


@dataclass(kw_only=True)
class Counter:
    """Counts items of one stage and shows them; `advance` is all that a stage calls."""

    stage: str
    total: int | None = None
    done: int = 0
    counts: dict[str, float] = field(default_factory=dict)
    stream: TextIO | None = None
    _bar: Progress | None = None
    _task: Any = None
    _started: float = field(default_factory=time.monotonic)
    _before: int = 0
    _stopped: bool = False

    def resume(self, done: int) -> None:
        """Count what an earlier process did as done, and not as this one's speed."""
        self._before = done
        self.advance(done)

    def stop(self) -> None:
        """Say that the work ends before it is finished, as it was asked to."""
        self._stopped = True

    def advance(self, items: int = 1, **counts: float) -> None:
        """Add `items` to what is done, and `counts` (failed=1, bytes=1234) to their sums."""
        self.done += items
        for name, value in counts.items():
            self.counts[name] = self.counts.get(name, 0) + value
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, notes=self._notes())

    def expect(self, total: int) -> None:
        """Say how many items there will be, once that is known."""
        self.total = total
        if self._bar is not None:
            self._bar.update(self._task, total=total)

    def show(self, **values: float) -> None:
        """Set values that are states, not sums (loss=0.31); shown beside the counts."""
        self.counts.update(values)
        self.advance(0)

    def write(self, *, final: bool = False) -> None:
        """Write one JSON line of where we stand."""
        seconds = max(time.monotonic() - self._started, 1e-9)
        rate = (self.done - self._before) / seconds
        line: dict[str, Any] = {"stage": self.stage, "done": self.done, "total": self.total}
        line |= {name: round(value, 6) for name, value in list(self.counts.items())}
        line |= {"seconds": round(seconds, 1), "per_second": round(rate, 3)}
        if self.total is not None and rate > 0 and not final:
            line["eta_s"] = round(max(self.total - self.done, 0) / rate, 1)
        if final:
            line["finished"] = True
        print(json.dumps(line), file=self.stream or sys.stderr, flush=True)

    def _notes(self) -> str:
        return "  ".join(f"{name} {value:g}" for name, value in self.counts.items())


@contextlib.contextmanager
def progress(
    stage: str, total: int | None = None, *, stream: TextIO | None = None
) -> Iterator[Counter]:
    """Show the progress of `stage` over `total` items (None: unknown) for the length of a block."""
    stream = stream or sys.stderr
    counter = Counter(stage=stage, total=total, stream=stream)
    if not stream.isatty():
        with _speaking(counter):
            yield counter
        return
    with new_bar(stream) as bar:
        counter._bar, counter._task = bar, bar.add_task(stage, total=total, notes="")
        yield counter


@contextlib.contextmanager
def _speaking(counter: Counter) -> Iterator[None]:
    """A JSON line every ten seconds, also while nothing gets done, and one at the end.

    The last one says "finished" unless an error, Ctrl-C or `stop` ends the work.
    """
    done = threading.Event()

    def speak() -> None:
        while not done.wait(EVERY_SECONDS):
            counter.write()

    thread = threading.Thread(target=speak, name=f"progress of {counter.stage}", daemon=True)
    thread.start()
    finished = False
    try:
        yield
        finished = True
    finally:
        done.set()
        thread.join()
        counter.write(final=finished and not counter._stopped)


def say(message: str) -> None:
    """A line for the person who watches, on stderr."""
    print(message, file=sys.stderr, flush=True)


def error(message: str) -> None:
    """What went wrong and what to do, on stderr."""
    print(f"error: {message}", file=sys.stderr, flush=True)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A short table on stdout; all columns but the first are aligned to the right."""
    made = Table(title=title, title_justify="left", show_edge=False)
    for number, column in enumerate(columns):
        made.add_column(column, justify="left" if number == 0 else "right", no_wrap=number == 0)
    for row in rows:
        made.add_row(*(_cell(value) for value in row))
    # A log has no width: never fold a table there.
    Console(width=None if sys.stdout.isatty() else 160).print(made)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
