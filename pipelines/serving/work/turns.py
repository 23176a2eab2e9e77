"""Who is next: clients take turns, so that each waits only behind its own requests."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pipelines.serving.http.problems import BusyError

__all__ = ["Turns"]

#: Waiting requests of all clients, as a multiple of what one client may have.
CLIENTS = 8


class Turns:
    """Hands out `slots` places to work, round robin over the clients that wait.

    A client alone may take `share` of the places; the rest is kept for the next one to come.

    Args:
        slots: requests that are worked on at once.
        share: of these, how many one client may have.
        waiting: requests of one client that may wait; beyond, and beyond eight times as many of
            all clients, `BusyError`.
    """

    def __init__(self, slots: int, share: int, waiting: int) -> None:
        self.slots = slots
        self.share = share
        self.waiting = waiting
        self._working: Counter[str] = Counter()
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, client: str) -> AsyncIterator[None]:
        """Wait for a place, and hold it. Raises: `BusyError` if too many wait already."""
        if client not in self._queues and self._free_for(client):
            self._working[client] += 1
        else:
            await self._wait(client)
        try:
            yield
        finally:
            self._give_back(client)

    def _free_for(self, client: str) -> bool:
        return self._working.total() < self.slots and self._working[client] < self.share

    async def _wait(self, client: str) -> None:
        queue = self._queues.setdefault(client, deque())
        if len(queue) >= self.waiting or self._all_waiting() >= CLIENTS * self.waiting:
            if not queue:
                del self._queues[client]
            raise BusyError
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(place)
        try:
            await place  # `_next` has counted it as working
        except asyncio.CancelledError:
            if not place.cancelled():  # the turn had come in the same moment
                self._give_back(client)
            raise

    def _all_waiting(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    def _first(self, client: str) -> asyncio.Future[None] | None:
        """Take the first of a client's requests off its queue; None if all have left."""
        queue = self._queues[client]
        place = None
        while queue and (place is None or place.cancelled()):
            place = queue.popleft()
        if queue:
            self._queues.move_to_end(client)
        else:
            del self._queues[client]
        return None if place is None or place.cancelled() else place

    def _give_back(self, client: str) -> None:
        self._working[client] -= 1
        if not self._working[client]:
            del self._working[client]
        self._next()

    def _next(self) -> None:
        """Give free places to the clients in turn; who got one goes to the end of the line."""
        for client in list(self._queues):
            if not self._free_for(client):
                continue
            place = self._first(client)
            if place is not None:
                self._working[client] += 1
                place.set_result(None)
