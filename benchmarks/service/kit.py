"""What the service's benchmarks share: starting it as users do, and sending to it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.options import keep
from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
START_S = 600
#: Words in a command line -> role of the process.
ROLES = {
    "ServeReplica:deepsic:codec": "codec",
    "ServeReplica:deepsic:ingress": "ingress",
    "HAProxy": "proxy",
    "ProxyActor": "proxy",
    "haproxy": "proxy",
    "ServeController": "controller",
    "raylet/raylet": "raylet",
    "gcs_server": "gcs",
    "dashboard": "dashboard",
}


@dataclass(frozen=True, kw_only=True)
class RunningService:
    """`pipelines/serve.py`, running."""

    url: str
    process: subprocess.Popen[bytes]

    def tree(self) -> list[psutil.Process]:
        """It and everything that it started."""
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]

    def of_role(self, wanted: str) -> list[psutil.Process]:
        """Its processes of one role; see `ROLES`."""
        found = []
        for process in self.tree():
            with contextlib.suppress(psutil.Error):
                if role(" ".join(process.cmdline())) == wanted:
                    found.append(process)
        return found

    def cpu_ms(self) -> Counter[str]:
        """Processor time used so far, by role, milliseconds."""
        used: Counter[str] = Counter()
        for process in self.tree():
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                used[role(" ".join(process.cmdline()))] += round(1000 * (times.user + times.system))
        return used

    def memory_mb(self) -> float:
        """Memory of all its processes, shared pages counted once, MB."""
        total = 0
        for process in self.tree():
            with contextlib.suppress(psutil.Error):
                total += process.memory_info().rss - process.memory_info().shared
        return total / 1e6

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the command itself."""
        os.kill(self.process.pid, number)


def role(command: str) -> str:
    """What a process of the service is for, by its command line."""
    for words, name in ROLES.items():
        if words in command:
            return name
    return "rest of Ray"


@contextlib.contextmanager
def serving(*options: str, log: Path) -> Iterator[RunningService]:
    """Start the command, wait until it is ready, and stop it by its own pid."""
    port = free_port()
    command = [sys.executable, str(ROOT / "pipelines" / "serve.py"), "--port", str(port), *options]
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out)
    service = RunningService(url=f"http://127.0.0.1:{port}", process=process)
    try:
        wait_ready(service, log)
        yield service
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and after a while SIGKILL."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(90)
    if process.poll() is None:
        process.kill()


def wait_ready(service: RunningService, log: Path) -> None:
    """Wait for `/readyz`. Raises `RuntimeError` with the log if it ends or takes too long."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and service.process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{service.url}/readyz", timeout=10).status_code == 200:
                return
        time.sleep(0.5)
    raise RuntimeError(f"the service didn't start:\n{log.read_text()[-4000:]}")


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99 and the largest, milliseconds."""
    ordered = sorted(1000 * value for value in seconds)
    if not ordered:
        return {}

    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)

    return {
        "p50_ms": round(statistics.median(ordered), 1),
        "p95_ms": at(0.95),
        "p99_ms": at(0.99),
        "max_ms": round(ordered[-1], 1),
    }


def report(results: dict[str, Any], out: Path | None) -> None:
    """Print the results and keep them as JSON."""
    print(json.dumps(results, indent=2))
    keep(out, results)
