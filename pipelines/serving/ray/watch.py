"""What the command shows while it serves: the request log, and replicas that end and come back."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipelines.stage import console

__all__ = ["changes", "copy_lines", "watch_replicas"]

EVERY_S = 1.0
#: Deployment -> how to call its replicas.
NAMES = {
    "codec": "codec",
    "bulk": "codec (large work)",
    "uploads": "upload store",
    "ingress": "HTTP",
}


def copy_lines(pipe: Path) -> str:
    """Make a pipe whose lines appear on stdout at once; its path.

    Lines of up to 4 kB from several writers don't mix. It lasts as long as this process, and has
    stdout for itself: what else is printed there, such as Ray's own warnings, goes to stderr.
    """
    out = os.dup(1)
    os.dup2(2, 1)
    os.mkfifo(pipe, 0o600)
    # Open for writing too, so that it doesn't end when the last replica closes it.
    end = os.open(pipe, os.O_RDWR)

    def copy() -> None:
        with os.fdopen(out, "wb") as log:
            while data := os.read(end, 65_536):
                log.write(data)
                log.flush()

    threading.Thread(target=copy, name="request log", daemon=True).start()
    return str(pipe)


def changes(before: Mapping[str, int], now: Mapping[str, int]) -> Iterator[str]:
    """What to say when the number of running replicas changed.

    >>> list(changes({"codec": 2}, {"codec": 1}))
    ['a codec replica ended; 1 left, Ray starts another if it is needed']
    """
    for name in before:
        was, there = before[name], now.get(name, 0)
        if there < was:
            yield (
                f"a {NAMES.get(name, name)} replica ended; {there} left, Ray starts another if it "
                "is needed"
            )
        elif there > was:
            yield f"a {NAMES.get(name, name)} replica is there again; {there} running"


def running(application: str) -> dict[str, int]:
    """Running replicas of each deployment."""
    from ray import serve

    found = serve.status().applications.get(application)
    deployments = found.deployments if found else {}
    return {
        name: sum(n for state, n in one.replica_states.items() if state == "RUNNING")
        for name, one in deployments.items()
    }


@contextlib.contextmanager
def watch_replicas(application: str) -> Iterator[None]:
    """Say when replicas end and are back, for the length of a block."""
    done = threading.Event()

    def watch() -> None:
        before = running(application)
        while not done.wait(EVERY_S):
            now = running(application)
            for line in changes(before, now):
                console.say(line)
            before = now

    thread = threading.Thread(target=watch, name="replicas", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
