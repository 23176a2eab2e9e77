"""What every HTTP client may expect of any resource: HEAD, entity tags, 304, compression."""

from __future__ import annotations

import hashlib

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["CompressText", "MannersMiddleware", "etag"]

#: Text of ours that is worth compressing; image files are compressed already.
TEXT = frozenset({"/", "/docs", "/openapi.json", "/samples", "/metrics", "/v1/models"})
TEXT_ENDINGS = (".js", ".css", ".html", ".svg", ".json")
SMALLEST = 500


def etag(data: bytes) -> str:
    """A strong entity tag."""
    return f'"{hashlib.sha256(data).hexdigest()[:32]}"'


def matches(header: str | None, tag: str) -> bool:
    """Whether `If-None-Match` names `tag`; weak comparison, as RFC 9110 wants for GET.

    >>> matches('W/"a", "b"', '"a"'), matches("*", '"a"'), matches(None, '"a"')
    (True, True, False)
    """
    if header is None:
        return False
    named = [part.strip().removeprefix("W/") for part in header.split(",")]
    return "*" in named or tag.removeprefix("W/") in named


class CompressText:
    """Gzip for text resources, if the client takes it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.compressed = GZipMiddleware(app, minimum_size=SMALLEST)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        path = scope.get("path", "")
        text = path in TEXT or path.endswith(TEXT_ENDINGS)
        await (self.compressed if text else self.app)(scope, receive, send)


class MannersMiddleware:
    """Answers HEAD as GET without the body, and 304 where the client has it already."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            await self.app(scope, receive, send)
            return
        head = scope["method"] == "HEAD"
        asked = Headers(scope=scope).get("if-none-match")
        start: Message | None = None
        drop = False

        async def watched(message: Message) -> None:
            nonlocal start, drop
            if message["type"] == "http.response.start":
                start = message  # held back until the first bytes of the body are here
                return
            if start is not None:
                drop = finish_head(start, message, asked) or head
                await send(start)
                start = None
                if drop:
                    await send({"type": "http.response.body", "body": b""})
            if not drop:
                await send(message)

        inner = {**scope, "method": "GET"} if head else scope
        try:
            await self.app(inner, receive, watched)
        finally:
            if "route" in inner:
                scope["route"] = inner["route"]  # for the log


def finish_head(start: Message, first: Message, asked: str | None) -> bool:
    """Tag a whole small answer, and make it 304 if the client has it; whether it became one."""
    headers = MutableHeaders(raw=list(start["headers"]))
    if start["status"] == 200:
        whole = not first.get("more_body")
        if "etag" not in headers and whole and "cache-control" in headers:
            headers["etag"] = etag(first.get("body", b""))
        if "etag" in headers and matches(asked, headers["etag"]):
            for name in ("content-length", "content-type", "content-encoding"):
                del headers[name]
            start.update(status=304, headers=headers.raw)
            return True
    start["headers"] = headers.raw
    return False
