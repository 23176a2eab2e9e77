"""The outermost layer: request identity, security headers, metrics, and the last safety net."""

from __future__ import annotations

import asyncio
import re
import time
import uuid

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.serving.http.metrics import Metrics
from pipelines.serving.http.problems import problem_of

__all__ = ["CONTENT_SECURITY_POLICY", "ContextMiddleware"]

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
# Swagger UI puts style attributes on its elements; its scripts are files of our own origin.
DOCS_POLICY = CONTENT_SECURITY_POLICY.replace(
    "style-src 'self'", "style-src 'self' 'unsafe-inline'"
)

SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


def request_id(scope: Scope) -> str:
    """The client's `X-Request-Id` when it is harmless to log, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text = str(value.decode("latin-1"))
            if GIVEN_ID.fullmatch(text):
                return text
    return uuid.uuid4().hex


class ContextMiddleware:
    """Gives each request an identity, counts it, and answers for what nobody else caught."""

    def __init__(self, app: ASGIApp, metrics: Metrics, *, behind_serve: bool = False) -> None:
        self.app = app
        self.metrics = metrics
        # Ray Serve makes an identity too, and writes it into the answer itself.
        self.behind_serve = behind_serve

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        identity = request_id(scope)
        scope["deepsic.request_id"] = identity
        extra = dict(SECURITY_HEADERS)
        if not (self.behind_serve and (b"x-request-id", identity.encode()) in scope["headers"]):
            extra["x-request-id"] = identity
        policy = DOCS_POLICY if scope["path"] == "/docs" else CONTENT_SECURITY_POLICY
        extra["content-security-policy"] = policy
        status = 0
        finished = False
        started = time.perf_counter()

        async def send_with_headers(message: Message) -> None:
            nonlocal status, finished
            if message["type"] == "http.response.start":
                status = message["status"]
                present = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(
                        (k.encode(), v.encode())
                        for k, v in extra.items()
                        if k.encode() not in present
                    ),
                ]
            await send(message)
            finished = message["type"] == "http.response.body" and not message.get("more_body")

        try:
            await self.app(scope, receive, send_with_headers)
        except asyncio.CancelledError:
            status = status or 499
            raise
        except Exception as error:
            # Starlette answers, then raises again; an answer that had only begun is broken off
            # visibly, because there is no way to take it back.
            if not status:
                await problem_of(error, identity)(scope, receive, send_with_headers)
            elif not finished:
                raise
        finally:
            route = scope.get("route")
            path = getattr(route, "path", "other")
            self.metrics.observe(path, status or 499, time.perf_counter() - started)
