"""Clients take turns, whoever comes first and however much they want."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import pytest

from pipelines.serving.http.client import Clients
from pipelines.serving.http.problems import BusyError
from pipelines.serving.work.turns import Turns

HELD: list[object] = []


def enter(turns: Turns, client: str) -> Coroutine[None, None, None]:
    """Wait for a place, and hold it to the end: a turn that is forgotten is given back."""
    turn = turns.turn(client)
    HELD.append(turn)
    return turn.__aenter__()


def served(turns: Turns, asked: str) -> str:
    """The order in which one place serves requests that all wait at once."""
    order: list[str] = []

    async def one(client: str) -> None:
        async with turns.turn(client):
            order.append(client)
            await asyncio.sleep(0)

    async def run() -> None:
        await asyncio.gather(*(one(client) for client in asked))

    asyncio.run(run())
    return "".join(order)


def test_each_waits_only_behind_its_own() -> None:
    assert served(Turns(1, 1, 99), "aaaaaabc") == "aabcaaaa"


def test_one_client_leaves_places_for_the_next() -> None:
    async def run() -> None:
        turns = Turns(slots=4, share=2, waiting=9)
        held = [turns.turn("a") for _ in range(3)]
        entered = [asyncio.create_task(turn.__aenter__()) for turn in held]
        await asyncio.sleep(0)
        assert [task.done() for task in entered] == [True, True, False]
        async with asyncio.timeout(1), turns.turn("b"):
            pass
        await held[0].__aexit__(None, None, None)
        await asyncio.sleep(0)
        assert entered[2].done()

    asyncio.run(run())


def test_queues_are_bounded_for_each_and_for_all() -> None:
    async def run() -> None:
        turns = Turns(slots=1, share=1, waiting=2)
        await enter(turns, "a")
        waiting = [asyncio.create_task(enter(turns, "a")) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(BusyError):
            await enter(turns, "a")
        others = [asyncio.create_task(enter(turns, f"b{number}")) for number in range(14)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in [*waiting, *others])
        with pytest.raises(BusyError):
            await enter(turns, "c")
        for task in [*waiting, *others]:
            task.cancel()

    asyncio.run(run())


def test_whoever_leaves_the_line_takes_no_place() -> None:
    async def run() -> None:
        turns = Turns(slots=1, share=1, waiting=5)
        first = turns.turn("a")
        await first.__aenter__()
        leaves = asyncio.create_task(enter(turns, "b"))
        stays = asyncio.create_task(enter(turns, "b"))
        await asyncio.sleep(0)
        leaves.cancel()
        await first.__aexit__(None, None, None)
        # Cancelled in the same moment as its turn came: the place goes on to the next.
        async with asyncio.timeout(1):
            await stays
        assert leaves.cancelled()

    asyncio.run(run())


def test_a_turn_that_came_too_late_is_passed_on() -> None:
    async def run() -> None:
        turns = Turns(slots=1, share=1, waiting=5)
        first = turns.turn("a")
        await first.__aenter__()
        late = asyncio.create_task(enter(turns, "b"))
        await asyncio.sleep(0)
        await first.__aexit__(None, None, None)  # b has the place, and doesn't know it yet
        late.cancel()
        with pytest.raises(asyncio.CancelledError):
            await late
        async with asyncio.timeout(1), turns.turn("c"):
            pass

    asyncio.run(run())


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("9.9.9.9", [], "9.9.9.9"),
        ("9.9.9.9", ["1.1.1.1"], "9.9.9.9"),  # anybody can say anything
        ("127.0.0.1", ["8.8.8.8"], "8.8.8.8"),
        ("127.0.0.1", ["1.1.1.1, 8.8.8.8"], "8.8.8.8"),
        ("127.0.0.1", ["1.1.1.1", "8.8.8.8"], "8.8.8.8"),
        ("127.0.0.1", ["8.8.8.8, 10.0.0.7"], "8.8.8.8"),
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["nonsense"], "nonsense"),
        ("2001:db8:1:2:aaaa::1", [], "2001:db8:1:2::/64"),
    ],
)
def test_a_client_is_the_nearest_address_that_is_no_proxy_of_ours(
    peer: str, forwarded: list[str], client: str
) -> None:
    clients = Clients(("127.0.0.0/8", "10.0.0.0/8"))
    headers = [(b"x-forwarded-for", line.encode()) for line in forwarded]
    scope = {"type": "http", "client": (peer, 1234), "headers": headers}
    assert clients.of(scope) == client
