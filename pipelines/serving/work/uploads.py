"""Images that were sent once and are worked on several times, under a handle that can't be guessed.

A handle is random, never a hash of the content: whoever knows a file could else ask whether
somebody else has sent it. It expires, and whoever is told that it is unknown sends the file again.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Uploads"]

HANDLE_BYTES = 18
#: One client's uploads take at most this share, so that it pushes out nobody else's.
SHARE = 4


@dataclass
class _Upload:
    data: bytes
    client: str
    used: float


class Uploads:
    """A bounded store in memory; the least recently used upload goes first.

    Args:
        max_bytes: of all uploads together.
        seconds: how long one is kept after its last use.
        clock: seconds; tests bring their own.
    """

    def __init__(
        self, max_bytes: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.max_bytes = max_bytes
        self.seconds = seconds
        self.clock = clock
        self._kept: OrderedDict[str, _Upload] = OrderedDict()

    def put(self, data: bytes, client: str) -> str:
        """Keep `data`; its new handle."""
        handle = secrets.token_urlsafe(HANDLE_BYTES)
        self._kept[handle] = _Upload(data, client, self.clock())
        self._make_room(client)
        return handle

    def get(self, handle: str) -> bytes | None:
        """What was kept; None if it is unknown or has expired."""
        upload = self._kept.get(handle)
        if upload is None or self.clock() - upload.used > self.seconds:
            self._kept.pop(handle, None)
            return None
        upload.used = self.clock()
        self._kept.move_to_end(handle)
        return upload.data

    def _size(self, client: str | None = None) -> int:
        kept = self._kept.values()
        return sum(len(one.data) for one in kept if client in (None, one.client))

    def _make_room(self, client: str) -> None:
        now = self.clock()
        for handle, upload in list(self._kept.items()):
            if now - upload.used > self.seconds:
                del self._kept[handle]
        for owner, most in ((client, self.max_bytes // SHARE), (None, self.max_bytes)):
            # The newest always stays: it may be larger than a share.
            for handle, upload in list(self._kept.items())[:-1]:
                if self._size(owner) <= most:
                    break
                if owner in (None, upload.client):
                    del self._kept[handle]
