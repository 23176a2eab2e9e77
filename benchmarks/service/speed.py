"""How fast the service is beside the codec alone, measured in turns so that both see one machine.

Clients are threads over `http.client`: what they use of the processor is taken from the service.
"""

from __future__ import annotations

import http.client
import os
import statistics
import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from benchmarks.service.kit import RunningService, percentiles
from benchmarks.service.truth import QUALITY, InProcess, Truth

__all__ = ["ENCODE", "speed"]

ENCODE = f"/v1/encode?quality={QUALITY}&labels=false"
MANY = 16
#: Short turns, many of them: what else the machine does falls on both sides alike.
ROUNDS = 8


class LoadClient:
    """One kept connection."""

    def __init__(self, service: RunningService, truth: Truth) -> None:
        parts = urlsplit(service.url)
        self.link = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=90)
        self.truth = truth

    def encode(self) -> tuple[str, float, Mapping[str, str]]:
        """What came back, how long it took (seconds), and the answer's headers."""
        started = time.perf_counter()
        self.link.request("POST", ENCODE, self.truth.data)
        answer = self.link.getresponse()
        content = answer.read()
        spent = time.perf_counter() - started
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return self.truth.check(answer.status, headers, content, "encode"), spent, headers


def crowd(
    service: RunningService, truth: Truth, count: int, seconds: float
) -> tuple[Counter[str], list[float], float]:
    """`count` clients without pause: outcomes, times of each request, and of all (seconds)."""
    seen: Counter[str] = Counter()
    taken: list[float] = []
    started = time.perf_counter()

    def one() -> None:
        client = LoadClient(service, truth)
        while time.perf_counter() - started < seconds:
            outcome, spent, _ = client.encode()
            seen[outcome] += 1
            taken.append(spent)

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen, taken, time.perf_counter() - started


def server_timing(headers: Mapping[str, str]) -> dict[str, float]:
    """What the `Server-Timing` header says, milliseconds."""
    parts = (part.strip().partition(";dur=") for part in headers["server-timing"].split(","))
    return {name: float(value) for name, _, value in parts}


def one_client(service: RunningService, truth: Truth, seconds: float) -> dict[str, Any]:
    """Encode here, then there, and again: the service's time over the codec's."""
    client = LoadClient(service, truth)
    here: list[float] = []
    there: list[float] = []
    inside: list[dict[str, float]] = []
    seen: Counter[str] = Counter()
    for _ in range(5):
        client.encode()
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        here.append(truth.second())
        outcome, spent, headers = client.encode()
        seen[outcome] += 1
        there.append(spent)
        inside.append(server_timing(headers))
    more = [1000 * (b - a) for a, b in zip(here, there, strict=True)]
    return {
        "in_process": percentiles(here),
        "service": percentiles(there),
        "p50_over_in_process_ms": round(
            1000 * (statistics.median(there) - statistics.median(here)), 1
        ),
        "median_of_differences_ms": round(statistics.median(more), 1),
        "server_timing_p50_ms": {
            name: round(statistics.median(part[name] for part in inside), 1) for name in inside[0]
        },
        "outcomes": seen,
    }


def many_clients(service: RunningService, truth: Truth, seconds: float) -> dict[str, Any]:
    """Sixteen clients against one process for each core, in turns."""
    cores = os.cpu_count() or 1
    alone = InProcess(truth.data, cores)
    crowd(service, truth, MANY, 3)
    here: list[float] = []
    there: list[float] = []
    taken: list[float] = []
    seen: Counter[str] = Counter()
    used: Counter[str] = Counter()
    for _ in range(ROUNDS):
        here.append(alone.rate(seconds))
        before, own = service.cpu_ms(), time.process_time()
        outcomes, times, wall = crowd(service, truth, MANY, seconds)
        used += service.cpu_ms() - before
        used["these clients"] += round(1000 * (time.process_time() - own))
        seen += outcomes
        taken += times
        there.append(outcomes["200"] / wall)
    alone.end()
    return {
        "in_process_per_second": [round(rate, 2) for rate in here],
        "service_per_second": [round(rate, 2) for rate in there],
        "share": round(statistics.mean(there) / statistics.mean(here), 3),
        "median_of_shares": round(
            statistics.median(b / a for a, b in zip(here, there, strict=True)), 3
        ),
        "processes_in_process": cores,
        **percentiles(taken),
        "outcomes": seen,
        "cpu_ms_a_request": {
            name: round(spent / sum(seen.values()), 1) for name, spent in used.most_common()
        },
    }


def speed(service: RunningService, truth: Truth, seconds: float) -> dict[str, Any]:
    """p50 at one client, throughput at sixteen, each beside the codec in process."""
    return {
        "one_client": one_client(service, truth, seconds),
        "sixteen_clients": many_clients(service, truth, seconds / ROUNDS),
    }
