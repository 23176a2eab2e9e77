"""The outermost layer: identity, security headers, log, metrics, and the last safety net."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.serving.http.client import Clients
from pipelines.serving.http.log import log
from pipelines.serving.http.metrics import Metrics
from pipelines.serving.http.problems import problem_of
from pipelines.serving.settings import ServeSettings

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
# The page fetches an address that its user pastes by itself; the service never does.
PAGE_POLICY = CONTENT_SECURITY_POLICY.replace("connect-src 'self'", "connect-src 'self' https:")
POLICIES = {"/": PAGE_POLICY, "/docs": DOCS_POLICY}

SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
CLIENT_LEFT = 499
#: Probes come every few seconds: counted, but not worth a line.
UNLOGGED = frozenset({"/healthz", "/readyz", "/metrics"})


def request_id(scope: Scope) -> str:
    """The client's `X-Request-Id` when it is harmless to log, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text = str(value.decode("latin-1"))
            if GIVEN_ID.fullmatch(text):
                return text
    return uuid.uuid4().hex


@dataclass
class _Traffic:
    status: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    finished: bool = False


class ContextMiddleware:
    """Gives each request an identity, logs and counts it, and answers for what nobody caught."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, settings: ServeSettings, *, behind_serve: bool = False
    ) -> None:
        self.app = app
        self.metrics = metrics
        self.settings = settings
        self.clients = Clients(settings.trusted_proxies)
        # Ray Serve makes an identity too, and writes it into the answer itself.
        self.behind_serve = behind_serve

    def _headers(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        identity = scope["deepsic.request_id"]
        extra = {
            **SECURITY_HEADERS,
            "content-security-policy": POLICIES.get(scope["path"], CONTENT_SECURITY_POLICY),
        }
        if not (self.behind_serve and (b"x-request-id", identity.encode()) in scope["headers"]):
            extra["x-request-id"] = identity
        return [(name.encode(), value.encode()) for name, value in extra.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        identity = scope["deepsic.request_id"] = request_id(scope)
        scope["deepsic.client"] = self.clients.of(scope)
        traffic = _Traffic()
        extra = self._headers(scope)
        started = time.perf_counter()

        async def counted() -> Message:
            message = await receive()
            traffic.bytes_in += len(message.get("body", b""))
            return message

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                traffic.status = message["status"]
                present = {name.lower() for name, _ in message["headers"]}
                more = [item for item in extra if item[0] not in present]
                message = {**message, "headers": [*message["headers"], *more]}
            traffic.bytes_out += len(message.get("body", b""))
            await send(message)
            if message["type"] == "http.response.body":
                traffic.finished = not message.get("more_body")

        try:
            await self.app(scope, counted, with_headers)
        except asyncio.CancelledError:
            traffic.status = traffic.status or CLIENT_LEFT
            raise
        except Exception as error:
            # Starlette answers, then raises again; an answer that had only begun is broken off
            # visibly, because there is no way to take it back.
            if not traffic.status:
                answer = problem_of(error, identity, self.settings.retry_after_s)
                await answer(scope, receive, with_headers)
            elif not traffic.finished:
                raise
        finally:
            self._note(scope, traffic, time.perf_counter() - started)

    def _note(self, scope: Scope, traffic: _Traffic, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        status = traffic.status or CLIENT_LEFT
        self.metrics.observe(route, status, seconds)
        if route in UNLOGGED and status < 400:
            return
        fields = {
            "id": scope["deepsic.request_id"],
            "client": scope["deepsic.client"],
            "method": scope["method"],
            "route": route,
            "status": status,
            "bytes_in": traffic.bytes_in,
            "bytes_out": traffic.bytes_out,
            "ms": round(1000 * seconds, 1),
        }
        log.info("request", extra={"fields": fields})
