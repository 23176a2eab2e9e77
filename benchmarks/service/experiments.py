"""The experiments of `load.py`: what is sent to a running service, and what came back."""

from __future__ import annotations

import asyncio
import io
import itertools
import random
import signal
import socket
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx
from PIL import Image

from benchmarks.service.kit import RunningService, percentiles
from benchmarks.service.speed import ENCODE
from benchmarks.service.truth import Truth

REDEPLOY_S = 600  # at most, on a busy machine
RECOVERY_S = 60


async def send(client: httpx.AsyncClient, truth: Truth, verb: str = "encode") -> tuple[str, float]:
    """One request: what came back, and how long it took, seconds."""
    started = time.perf_counter()
    path, body = (ENCODE, truth.data) if verb == "encode" else ("/v1/decode", truth.blob)
    try:
        answer = await client.post(path, content=body)
        outcome = truth.check(answer.status_code, answer.headers, answer.content, verb)
    except httpx.HTTPError as error:
        outcome = type(error).__name__
    return outcome, time.perf_counter() - started


async def send_until_answered(
    client: httpx.AsyncClient, truth: Truth, verb: str, seen: Counter[str]
) -> None:
    """A request as `deepsic.Client` does: again, if the connection broke or a proxy failed."""
    for pause in (0.5, 1, 2, 4, 8, 0):
        outcome, _ = await send(client, truth, verb)
        if outcome.isdecimal() and outcome != "503":
            break
        if "wrong" in outcome or not pause:
            break
        seen[f"{verb} sent again after {outcome}"] += 1
        await asyncio.sleep(pause)
    seen[f"{verb} {outcome}"] += 1


async def clients(count: int, seconds: float, once: Callable[[], Awaitable[None]]) -> float:
    """`count` clients that call `once` again and again; the time it took, seconds."""
    started = time.perf_counter()

    async def one() -> None:
        while time.perf_counter() - started < seconds:
            await once()

    await asyncio.gather(*(one() for _ in range(count)))
    return time.perf_counter() - started


def http(service: RunningService, connections: int = 200) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    return httpx.AsyncClient(base_url=service.url, timeout=90, limits=limits)


async def overload(service: RunningService, truth: Truth, seconds: float) -> dict[str, Any]:
    """Twice as many requests as can be served, whether or not answers come; then recovery."""
    seen: Counter[str] = Counter()
    times: dict[str, list[float]] = {"200": [], "503": []}
    memory = [service.memory_mb()]
    async with http(service, 2000) as client:

        async def once() -> None:
            outcome, spent = await send(client, truth)
            seen[outcome] += 1
            times.setdefault(outcome, []).append(spent)

        async def watch() -> None:
            while True:
                await asyncio.sleep(1)
                memory.append(service.memory_mb())

        wall = await clients(16, seconds / 2, once)
        capacity = seen["200"] / wall
        seen.clear()
        times["200"].clear()
        watching = asyncio.create_task(watch())
        started = time.perf_counter()
        running: list[asyncio.Task[None]] = []
        while (now := time.perf_counter() - started) < seconds:
            while len(running) < now * 2 * capacity:
                running.append(asyncio.create_task(once()))
            await asyncio.sleep(0.01)
        ended = time.perf_counter()
        # Recovered: a new request is answered as fast as on an idle service, within a factor.
        usual = statistics.median(truth.second() for _ in range(5))
        outcome, spent = "", 0.0
        while outcome != "200" or spent > 3 * usual:
            if time.perf_counter() - ended > RECOVERY_S:
                break
            outcome, spent = await send(client, truth)
        recovered = time.perf_counter() - ended
        await asyncio.wait(running, timeout=RECOVERY_S)
        unanswered = sum(not task.done() for task in running)
        watching.cancel()
        calm = [await send(client, truth) for _ in range(5)]
    return {
        "offered_per_second": round(2 * capacity, 2),
        "requests": len(running),
        "outcomes": seen,
        "unanswered": unanswered,
        "accepted": percentiles(times["200"]),
        "refused": percentiles(times["503"]),
        "memory_mb": {"before": round(memory[0]), "most": round(max(memory))},
        "recovered_after_s": round(recovered, 2),
        "after": Counter(outcome for outcome, _ in calm),
    }


def slow_loris(service: RunningService) -> str:
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


def aborted(service: RunningService, data: bytes) -> str:
    """Promise an image, send half of it, and hang up."""
    parts = urlsplit(service.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as link:
        head = f"POST /v1/encode HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n"
        link.sendall(head.encode() + data[: len(data) // 2])
    return "aborted"


#: What clients of `chaos` send, and how often.
KINDS = {
    "encode": 6.0, "decode": 6.0, "damaged": 2.0, "no image": 2.0, "oversized": 1.0,
    "loris": 0.3, "abort": 1.0,
}  # fmt: skip


async def _mixed(
    kind: str, service: RunningService, client: httpx.AsyncClient, truth: Truth, seen: Counter[str]
) -> None:
    """Send one request of a kind, and count how it ends."""
    if kind in ("encode", "decode"):
        await send_until_answered(client, truth, kind, seen)
        return
    if kind in ("loris", "abort"):
        hostile = (slow_loris, service) if kind == "loris" else (aborted, service, truth.data)
        try:
            seen[await asyncio.to_thread(*hostile)] += 1
        except OSError as error:  # no connection while the proxy is dead
            seen[f"{kind} {type(error).__name__}"] += 1
        return
    damaged = bytearray(truth.blob)
    damaged[len(damaged) // 2] ^= 0x55
    path, body = {
        "damaged": ("/v1/decode", bytes(damaged)),
        "no image": (ENCODE, truth.data[:3000]),
        "oversized": (ENCODE, bytes(20_000_001)),
    }[kind]
    try:
        answer = await client.post(path, content=body)
        seen[f"{kind} {answer.status_code}"] += 1
    except httpx.HTTPError as error:
        seen[f"{kind} {type(error).__name__}"] += 1


async def chaos(
    service: RunningService, truth: Truth, seconds: float, every: float, victims: Sequence[str]
) -> dict[str, Any]:
    """Mixed good and bad load, and a process killed with SIGKILL every `every` seconds.

    victims: roles (see `serve_kit.ROLES`) that die in turn.
    """
    rng = random.Random(1)
    killed: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    async with http(service) as client:

        async def once() -> None:
            [kind] = rng.choices(list(KINDS), list(KINDS.values()))
            await _mixed(kind, service, client, truth, seen)

        async def kill() -> None:
            for name in itertools.cycle(victims):
                await asyncio.sleep(every)
                there = await asyncio.to_thread(service.of_role, name)
                if there:
                    rng.choice(there).kill()
                killed[name if there else f"no {name} to kill"] += 1

        killing = asyncio.create_task(kill())
        await clients(6, seconds, once)
        killing.cancel()
        calm = [await send(client, truth) for _ in range(5)]
    return {
        "outcomes": dict(sorted(seen.items())),
        "wrong": sum(count for name, count in seen.items() if "wrong" in name),
        "killed": killed,
        "memory_mb": round(service.memory_mb()),
        "after": Counter(outcome for outcome, _ in calm),
    }


def from_client(number: int) -> dict[str, str]:
    """Headers of another client: the service trusts what a proxy on loopback says of addresses."""
    return {"X-Forwarded-For": f"198.51.100.{number}"}


def noise(side: int) -> bytes:
    """A JPEG of a square of noise."""
    out = io.BytesIO()
    Image.effect_noise((side, side), 50).convert("RGB").save(out, "JPEG", quality=35)
    return out.getvalue()


async def fair(service: RunningService, truth: Truth, seconds: float) -> dict[str, Any]:
    """A client with photographs, alone and beside one that sends the dearest legal requests.

    That one searches for sizes: of four images of 4 megapixels, which are answered (`dear_done`:
    work that is never done has cost the others nothing), then of four of 49, which may take longer
    than a request's time and are answered with 504. Give it 60 seconds.
    """
    dear = [noise(2000)] * 4 + [noise(7000)] * 4
    seen: Counter[str] = Counter()
    taken: dict[str, list[float]] = {"quiet": [], "beside": []}
    async with http(service) as client:

        async def photograph(phase: str) -> None:
            started = time.perf_counter()
            answer = await client.post(ENCODE, content=truth.data, headers=from_client(1))
            outcome = truth.check(answer.status_code, answer.headers, answer.content, "encode")
            seen[f"{phase} {outcome}"] += 1
            taken[phase].append(time.perf_counter() - started)

        async def flood(body: bytes) -> None:
            path = "/v1/encode?bpp=0.3&labels=false"
            while True:
                answer = await client.post(path, content=body, headers=from_client(2))
                seen[f"dear {answer.status_code}"] += 1
                if answer.status_code == 503:
                    await asyncio.sleep(0.5)

        await clients(1, seconds, lambda: photograph("quiet"))
        floods = [asyncio.create_task(flood(body)) for body in dear]
        await asyncio.sleep(3)
        await clients(1, seconds, lambda: photograph("beside"))
        for task in floods:
            task.cancel()
    quiet, beside = percentiles(taken["quiet"]), percentiles(taken["beside"])
    return {
        "quiet": quiet,
        "beside": beside,
        "p99_ratio": round(beside["p99_ms"] / quiet["p99_ms"], 2),
        "dear_bytes": [len(body) for body in dear],
        "dear_done": seen["dear 200"],
        "outcomes": seen,
    }


async def redeploy(
    service: RunningService, truth: Truth, seconds: float, again: Callable[[], None] | None = None
) -> dict[str, Any]:
    """A redeploy under load, until every replica is another process and `seconds` more.

    `again` asks for it; None: SIGHUP to the command.
    """
    seen: Counter[str] = Counter()
    taken: list[float] = []

    def replicas() -> set[tuple[str, int]]:
        roles = ("codec", "ingress")
        return {(role, process.pid) for role in roles for process in service.of_role(role)}

    old = replicas()
    started = time.perf_counter()
    replaced_after = None
    ends = started + REDEPLOY_S

    async def watch() -> None:
        nonlocal replaced_after, ends
        await asyncio.sleep(2)
        await asyncio.to_thread(again or (lambda: service.signal(signal.SIGHUP)))
        while replaced_after is None:
            await asyncio.sleep(1)
            now = replicas()
            if len(now) >= len(old) and not now & old:
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


async def drain(service: RunningService, truth: Truth) -> dict[str, Any]:
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
