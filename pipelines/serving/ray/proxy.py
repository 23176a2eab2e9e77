"""Ray's own HTTP proxy: what it says by itself, as problem documents.

Serve calls `middlewares` when the proxy starts (`RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`). The
application is mounted at "/", so a path that has no application means that the service is going
away or isn't there yet. `haproxy.sh` does the same for HAProxy.
"""

from __future__ import annotations

import uuid

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.serving.http.problems import problem_response

__all__ = ["ProxyProblems", "middlewares"]

RETRY_AFTER_S = "5"
#: Every answer of the application carries it; the proxy's own have none.
OURS = b"content-security-policy"
AWAY = (503, "Unavailable", "the service is starting or ending; try again")
SAID = {
    404: AWAY,
    408: (504, "Time limit exceeded", "no answer in time; try a smaller image"),
    503: (503, "Busy", "the service is busy; try again"),
}
FAILED = (500, "Internal error", "a part of the service ended; try again")


class ProxyProblems:
    """Replaces the text of answers that aren't the application's."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http" or scope["path"].startswith("/-/"):
            await self.app(scope, receive, send)
            return
        replaced = False

        async def watched(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start":
                names = {name.lower() for name, _ in message["headers"]}
                if message["status"] >= 400 and OURS not in names:
                    replaced = True
                    status, title, detail = SAID.get(message["status"], FAILED)
                    headers = {"Retry-After": RETRY_AFTER_S} if status == 503 else {}
                    answer = problem_response(
                        status, title, detail, uuid.uuid4().hex, headers=headers
                    )
                    await answer(scope, receive, send)
            if not replaced:
                await send(message)

        await self.app(scope, receive, watched)


def middlewares() -> list[Middleware]:
    """What Serve puts around its proxy."""
    return [Middleware(ProxyProblems)]
