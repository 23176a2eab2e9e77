"""Who may call: an optional bearer token, and no other site's pages."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from pipelines.serving.http.problems import problem_response

__all__ = ["AuthMiddleware"]

#: Open without a token: what a load balancer asks, and the page, which asks its user for one.
OPEN_PATHS = frozenset({"/", "/healthz", "/readyz", "/docs", "/openapi.json", "/favicon.ico"})
OPEN_PREFIXES = ("/static/", "/samples", "/gallery")


def digest(text: str) -> bytes:
    """SHA-256; comparing digests hides even the token's length."""
    return hashlib.sha256(text.encode("latin-1", "replace")).digest()


class AuthMiddleware:
    """Refuses requests without the token, and POSTs that another site's page makes."""

    def __init__(self, app: ASGIApp, token: str | None, cors_origins: Collection[str] = ()) -> None:
        self.app = app
        self.expected = None if token is None else digest(token)
        self.cors_origins = frozenset(cors_origins)

    def _token_ok(self, path: str, headers: Headers) -> bool:
        if self.expected is None or path in OPEN_PATHS or path.startswith(OPEN_PREFIXES):
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(
            digest(given.strip()), self.expected
        )

    def _foreign(self, method: str, headers: Headers) -> bool:
        # A page of any site can make a browser POST to a service on localhost. It can't read the
        # answer, but it can burn CPU; browsers label such requests.
        cross_site = headers.get("sec-fetch-site") == "cross-site"
        return method == "POST" and cross_site and headers.get("origin") not in self.cors_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            identity = scope["deepsic.request_id"]
            if self._foreign(scope["method"], headers):
                answer = problem_response(
                    403, "Forbidden", "pages of other sites may not use this service", identity
                )
                await answer(scope, receive, send)
                return
            if not self._token_ok(scope["path"], headers):
                answer = problem_response(
                    401,
                    "Unauthorized",
                    "send the service's token as 'Authorization: Bearer TOKEN'",
                    identity,
                    headers={"WWW-Authenticate": 'Bearer realm="deepsic"'},
                )
                await answer(scope, receive, send)
                return
        await self.app(scope, receive, send)
