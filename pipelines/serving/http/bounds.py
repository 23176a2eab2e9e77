"""What a request may cost before it is understood: bytes, time to deliver them, total time.

The body is read here, in full, before any parser sees it: at most `max_body_bytes` of it, within
`body_timeout_s`, and with all bodies of this process together under `max_buffered_bytes`. A body
that is packed with gzip counts unpacked.
"""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deepsic.errors import InputError, LimitError, UsageError
from pipelines.serving.http.problems import BusyError, TimeLimitError, problem_of
from pipelines.serving.settings import ServeSettings

__all__ = ["BoundsMiddleware", "PackedBodyError", "SlowBodyError"]

#: How many times the largest body is read and thrown away before the connection is cut.
DISCARD = 3
METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class SlowBodyError(TimeLimitError):
    """The client took too long to send its body."""

    http_status = 408
    title = "Body too slow"


class PackedBodyError(InputError):
    """The body is packed in a way that isn't taken, or badly."""

    title = "Unsupported encoding"


@dataclass
class Buffered:
    """Bytes of request bodies that this process holds."""

    count: int = 0


class BoundsMiddleware:
    """Reads the body within bounds, then runs the application within the time limit."""

    def __init__(self, app: ASGIApp, settings: ServeSettings) -> None:
        self.app = app
        self.settings = settings
        self.buffered = Buffered()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        held = 0
        try:
            body = b""
            if scope["method"] in METHODS_WITH_BODY:
                try:
                    self._check_declared(Headers(scope=scope))
                except LimitError:
                    await self._discard(receive)
                    raise
                encoding = Headers(scope=scope).get("content-encoding", "identity").strip().lower()
                if encoding not in ("identity", "gzip", "x-gzip"):
                    raise PackedBodyError(
                        f"Content-Encoding {encoding[:40]!r} isn't taken: send gzip or none"
                    )
                body = await self._read(receive)
                held = len(body)
                if encoding != "identity":
                    body = await asyncio.to_thread(self._unpack, body)
                    self.buffered.count += len(body) - held
                    held = len(body)
            await self._run(scope, _replay(body, receive), send)
        except ClientDisconnect:
            return  # nobody is left to answer
        except (LimitError, BusyError, TimeLimitError, UsageError, PackedBodyError) as error:
            identity = scope["deepsic.request_id"]
            answer = problem_of(error, identity, self.settings.retry_after_s)
            if isinstance(error, PackedBodyError):
                answer.headers["Accept-Encoding"] = "gzip"
            # The rest of the body is unread: the connection can't carry another request.
            answer.headers["Connection"] = "close"
            await answer(scope, receive, send)
        finally:
            self.buffered.count -= held

    def _check_declared(self, headers: Headers) -> None:
        declared = headers.get("content-length")
        if declared is None:
            return
        if not declared.isdecimal():
            raise UsageError("Content-Length is not a number")
        self._check_size(int(declared))

    def _check_size(self, count: int) -> None:
        if count > self.settings.max_body_bytes:
            raise LimitError(f"the body is larger than {self.settings.max_body_bytes:,} bytes")

    async def _read(self, receive: Receive) -> bytes:
        """The whole body; its bytes stay counted as held when this returns."""
        chunks: list[bytes] = []
        held = 0
        more = True
        try:
            async with asyncio.timeout(self.settings.body_timeout_s):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientDisconnect
                    more = message.get("more_body", False)
                    chunk = message.get("body", b"")
                    held += len(chunk)
                    self.buffered.count += len(chunk)
                    self._check_size(held)
                    if self.buffered.count > self.settings.max_buffered_bytes:
                        raise BusyError("the service holds too many images at once")
                    chunks.append(chunk)
        except TimeoutError:
            self.buffered.count -= held
            raise SlowBodyError(
                f"the body didn't arrive within {self.settings.body_timeout_s:g} s"
            ) from None
        except (LimitError, BusyError):
            self.buffered.count -= held
            chunks.clear()
            if more:
                await self._discard(receive)
            raise
        except BaseException:
            self.buffered.count -= held
            raise
        return b"".join(chunks)

    def _unpack(self, body: bytes) -> bytes:
        """A gzip body unpacked, as far as the limit and a byte."""
        unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        try:
            data = unpacker.decompress(body, self.settings.max_body_bytes + 1)
        except zlib.error as error:
            raise PackedBodyError(f"the body isn't sound gzip: {error}") from error
        self._check_size(len(data))
        if not unpacker.eof:
            raise PackedBodyError("the gzip body is cut short")
        return data

    async def _discard(self, receive: Receive) -> None:
        """Let the client finish a body that is too large, within reason, without keeping it.

        A connection that is closed while the client still sends is reset, and the client would
        never see the answer that says why.
        """
        left = DISCARD * self.settings.max_body_bytes
        try:
            async with asyncio.timeout(self.settings.body_timeout_s):
                while left > 0:
                    message = await receive()
                    if message["type"] == "http.disconnect" or not message.get("more_body"):
                        return
                    left -= len(message.get("body", b""))
        except TimeoutError:
            return

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            async with asyncio.timeout(self.settings.request_timeout_s):
                await self.app(scope, receive, watched)
        except TimeoutError:
            if begun:
                raise
            raise TimeLimitError(
                f"no answer within {self.settings.request_timeout_s:g} s; try a smaller image"
            ) from None


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body that was read, then the connection's own events."""
    sent = False

    async def replayed() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
