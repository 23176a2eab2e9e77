"""The experiments of `serve_load.py`: what is sent to a running service, and what came back."""

from __future__ import annotations

import asyncio
import io
import random
import signal
import socket
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
from PIL import Image

from benchmarks.serve_kit import Service, percentiles

QUALITY = 50
REDEPLOY_S = 600  # at most, on a busy machine
ENCODE = f"/v1/encode?quality={QUALITY}&labels=false"


class Truth:
    """What right answers are: the same work done in this process."""

    def __init__(self, data: bytes) -> None:
        import torch

        import deepsic

        torch.set_num_threads(1)
        self.data = data
        self.codec = deepsic.Codec.load("sic")
        self.blob = self.codec.encode(data, quality=QUALITY)
        self.pixels = np.asarray(self.codec.decode(self.blob))

    def seconds(self, times: int = 15) -> list[float]:
        """Encoding times in this process, one thread."""
        taken = []
        for _ in range(times):
            started = time.perf_counter()
            self.codec.encode(self.data, quality=QUALITY)
            taken.append(time.perf_counter() - started)
        return taken

    def check(self, answer: httpx.Response, verb: str) -> str:
        """The answer's status, or "wrong" for a 200 with a wrong byte."""
        if answer.status_code == 200:
            if verb == "encode" and answer.content != self.blob:
                return "wrong"
            if verb == "decode":
                image = np.asarray(Image.open(io.BytesIO(answer.content)))
                if not np.array_equal(image, self.pixels):
                    return "wrong"
        elif answer.headers.get("content-type") != "application/problem+json":
            return f"{answer.status_code} without a problem document"
        return str(answer.status_code)


async def send(client: httpx.AsyncClient, truth: Truth, verb: str = "encode") -> tuple[str, float]:
    """One request: what came back, and how long it took, seconds."""
    started = time.perf_counter()
    path, body = (ENCODE, truth.data) if verb == "encode" else ("/v1/decode", truth.blob)
    try:
        outcome = truth.check(await client.post(path, content=body), verb)
    except httpx.HTTPError as error:
        outcome = type(error).__name__
    return outcome, time.perf_counter() - started


async def clients(count: int, seconds: float, once: Callable[[], Awaitable[None]]) -> float:
    """`count` clients that call `once` again and again; the time it took, seconds."""
    started = time.perf_counter()

    async def one() -> None:
        while time.perf_counter() - started < seconds:
            await once()

    await asyncio.gather(*(one() for _ in range(count)))
    return time.perf_counter() - started


def http(service: Service, connections: int = 200) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    return httpx.AsyncClient(base_url=service.url, timeout=90, limits=limits)


async def latency(service: Service, truth: Truth, seconds: float) -> dict[str, Any]:
    """p50 at one client against the codec in this process; throughput at 16 clients."""
    before = truth.seconds()
    taken: list[float] = []
    seen: Counter[str] = Counter()
    async with http(service) as client:

        async def once() -> None:
            outcome, spent = await send(client, truth)
            seen[outcome] += 1
            taken.append(spent)

        await clients(1, 3, once)
        taken.clear()
        await clients(1, seconds, once)
        one = percentiles(taken)
        seen.clear()
        taken.clear()
        wall = await clients(16, seconds, once)
    # Again afterwards: on a shared machine the first figure may be of a quieter minute.
    alone = [*before, *truth.seconds()]
    return {
        "in_process_one_thread": {**percentiles(alone), "times": len(alone)},
        "one_client": one,
        "sixteen_clients": {
            "per_second": round(seen["200"] / wall, 2),
            **percentiles(taken),
            "outcomes": seen,
        },
    }


async def overload(service: Service, truth: Truth, seconds: float) -> dict[str, Any]:
    """Far more clients than the queue holds: refusals, memory, and the time to recover."""
    seen: Counter[str] = Counter()
    times: dict[str, list[float]] = {"200": [], "503": []}
    memory = [service.memory_mb()]
    async with http(service, 400) as client:

        async def once() -> None:
            outcome, spent = await send(client, truth)
            seen[outcome] += 1
            times.setdefault(outcome, []).append(spent)
            if outcome == "503":
                await asyncio.sleep(0.5)

        async def watch() -> None:
            while True:
                await asyncio.sleep(1)
                memory.append(service.memory_mb())

        watching = asyncio.create_task(watch())
        await clients(160, seconds, once)
        watching.cancel()
        ended = time.perf_counter()
        calm = [await send(client, truth) for _ in range(5)]
        recovered = time.perf_counter() - ended
    return {
        "outcomes": seen,
        "accepted": percentiles(times["200"]),
        "refused": percentiles(times["503"]),
        "memory_mb": {"before": round(memory[0]), "most": round(max(memory))},
        "five_requests_after_s": round(recovered, 2),
        "after": Counter(outcome for outcome, _ in calm),
    }


def slow_loris(service: Service) -> str:
    """Send a byte a second: the answer's status line, or how the connection ended."""
    parts = urlsplit(service.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as link:
        link.sendall(b"POST /v1/encode HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
        link.settimeout(1)
        for _ in range(60):
            try:
                link.sendall(b"x")
                answer = link.recv(200)
            except TimeoutError:
                continue
            except OSError:
                return "loris closed"
            return f"loris {answer.split(b' ')[1].decode()}" if answer else "loris closed"
    return "loris left alone"


def aborted(service: Service, data: bytes) -> str:
    """Promise a picture, send half of it, and hang up."""
    parts = urlsplit(service.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as link:
        head = f"POST /v1/encode HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
        link.sendall(head.encode() + data[: len(data) // 2])
    return "aborted"


async def chaos(service: Service, truth: Truth, seconds: float, every: float) -> dict[str, Any]:
    """Mixed good and bad load, and a codec replica killed with SIGKILL every `every` seconds."""
    rng = random.Random(1)
    damaged = bytearray(truth.blob)
    damaged[len(damaged) // 2] ^= 0x55
    killed: list[int] = []
    seen: Counter[str] = Counter()
    async with http(service) as client:

        async def raw(name: str, path: str, body: bytes) -> None:
            try:
                answer = await client.post(path, content=body)
                seen[f"{name} {answer.status_code}"] += 1
            except httpx.HTTPError as error:
                seen[f"{name} {type(error).__name__}"] += 1

        async def once() -> None:
            kind = rng.choices(
                ["encode", "decode", "damaged", "no picture", "oversized", "loris", "abort"],
                [6, 6, 2, 2, 1, 0.3, 1],
            )[0]
            if kind in ("encode", "decode"):
                seen[f"{kind} {(await send(client, truth, kind))[0]}"] += 1
            elif kind == "damaged":
                await raw(kind, "/v1/decode", bytes(damaged))
            elif kind == "no picture":
                await raw(kind, ENCODE, truth.data[:3000])
            elif kind == "oversized":
                await raw(kind, ENCODE, bytes(20_000_001))
            elif kind == "loris":
                seen[await asyncio.to_thread(slow_loris, service)] += 1
            else:
                seen[await asyncio.to_thread(aborted, service, truth.data)] += 1

        async def kill() -> None:
            while True:
                await asyncio.sleep(every)
                replicas = service.codec_replicas()
                if replicas:
                    victim = rng.choice(replicas)
                    killed.append(victim.pid)
                    victim.kill()

        killing = asyncio.create_task(kill())
        await clients(6, seconds, once)
        killing.cancel()
        calm = [await send(client, truth) for _ in range(5)]
    return {
        "outcomes": dict(sorted(seen.items())),
        "wrong": sum(count for name, count in seen.items() if "wrong" in name),
        "killed": len(killed),
        "memory_mb": round(service.memory_mb()),
        "after": Counter(outcome for outcome, _ in calm),
    }


async def redeploy(service: Service, truth: Truth, seconds: float) -> dict[str, Any]:
    """SIGHUP under load, until every replica is another process and `seconds` more."""
    seen: Counter[str] = Counter()
    taken: list[float] = []
    old = {process.pid for process in service.codec_replicas()}
    started = time.perf_counter()
    replaced_after = None
    ends = started + REDEPLOY_S

    async def watch() -> None:
        nonlocal replaced_after, ends
        await asyncio.sleep(2)
        service.signal(signal.SIGHUP)
        while replaced_after is None:
            await asyncio.sleep(1)
            now = {process.pid for process in service.codec_replicas()}
            if len(now - old) >= len(old) and not now & old:
                replaced_after = round(time.perf_counter() - started, 1)
                ends = time.perf_counter() + seconds

    async def one(client: httpx.AsyncClient) -> None:
        while time.perf_counter() < ends:
            outcome, spent = await send(client, truth)
            seen[outcome] += 1
            taken.append(spent)

    async with http(service) as client:
        watching = asyncio.create_task(watch())
        await asyncio.gather(*(one(client) for _ in range(3)))
        watching.cancel()
    return {"outcomes": seen, **percentiles(taken), "all_replaced_after_s": replaced_after}


async def drain(service: Service, truth: Truth) -> dict[str, Any]:
    """SIGTERM with eight requests in work: all are answered, then the process ends."""
    async with http(service) as client:
        running = [asyncio.create_task(send(client, truth)) for _ in range(8)]
        await asyncio.sleep(0.3)
        started = time.perf_counter()
        service.signal(signal.SIGTERM)
        answers = await asyncio.gather(*running)
    code = await asyncio.to_thread(service.process.wait, 120)
    return {
        "outcomes": Counter(outcome for outcome, _ in answers),
        "exit_code": code,
        "stopped_after_s": round(time.perf_counter() - started, 1),
        "mean_ms": round(1000 * statistics.mean(spent for _, spent in answers)),
    }
