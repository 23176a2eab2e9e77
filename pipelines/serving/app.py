"""Joins the parts into one ASGI application."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from pipelines.serving.api.batch import batch_router
from pipelines.serving.api.codec import codec_router
from pipelines.serving.api.compare import compare_router, upload_router
from pipelines.serving.api.gallery import gallery_router
from pipelines.serving.api.pages import add_pages
from pipelines.serving.api.requests import Parts
from pipelines.serving.http.auth import AuthMiddleware
from pipelines.serving.http.bounds import BoundsMiddleware
from pipelines.serving.http.context import ContextMiddleware
from pipelines.serving.http.manners import CompressText, MannersMiddleware
from pipelines.serving.http.metrics import Metrics
from pipelines.serving.http.problems import ProblemDocument, install_handlers
from pipelines.serving.settings import ServeSettings
from pipelines.serving.work.backends import Backend, Queued

__all__ = ["create_api", "create_app"]

ABOUT = """
Images to `.sic` files and back. A file's first bytes say what the image shows;
`POST /v1/labels` with the first 256 of them is enough.

An image that is worked on several times is sent once: `POST /v1/uploads` answers with a handle,
which every endpoint takes as `upload=` in place of a body. Handles expire; a 404 means: send it
again.

Errors are problem documents (RFC 9457). 503 and 504 may be tried again, after `Retry-After`
seconds.
"""
TAGS = [
    {"name": "codec", "description": "Encode, decode, read labels"},
    {"name": "uploads", "description": "Send a file once"},
    {"name": "compare", "description": "What the page asks: baselines, measures, classifier"},
]
#: What pages of other origins may read, where CORS is open.
EXPOSED = ["ETag", "Server-Timing", "X-Request-Id", "X-Sic-Bpp", "X-Sic-Handle", "X-Sic-Quality"]


def create_api(settings: ServeSettings, backend: Backend, metrics: Metrics) -> FastAPI:
    """The routes, without the layers that protect them."""
    app = FastAPI(title="DeepSIC", version="1", docs_url=None, redoc_url=None, openapi_url=None)
    install_handlers(app, settings.retry_after_s)
    parts = Parts(
        settings=settings, backend=backend, queued=Queued(backend, settings), metrics=metrics
    )
    for make in (codec_router, batch_router, upload_router, compare_router, gallery_router):
        app.include_router(make(parts))
    document = describe(app, settings)
    app.openapi = lambda: document  # type: ignore[method-assign]
    add_pages(app, backend, metrics)
    return app


def describe(app: FastAPI, settings: ServeSettings) -> dict[str, Any]:
    """The OpenAPI document."""
    document = get_openapi(
        title=app.title, version=app.version, description=ABOUT, routes=app.routes, tags=TAGS
    )
    components = document.setdefault("components", {})
    components["schemas"]["ProblemDocument"] = ProblemDocument.model_json_schema()
    components["securitySchemes"] = {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "The service's token, if it wants one",
        }
    }
    document["security"] = [{"token": []}] if settings.token() else [{}, {"token": []}]
    # Parameters that don't fit are 400 here, and FastAPI's own schemas for 422 lead nowhere.
    for name in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(name, None)
    return document


def create_app(settings: ServeSettings, backend: Backend, *, behind_serve: bool = False) -> ASGIApp:
    """The whole service over `backend`. Raises `UsageError` for a token that can't be used."""
    metrics = Metrics()
    app: ASGIApp = create_api(settings, backend, metrics)
    app = MannersMiddleware(CompressText(app))
    app = BoundsMiddleware(app, settings)
    app = AuthMiddleware(app, settings.token(), settings.cors_origins)
    if settings.cors_origins:
        app = CORSMiddleware(
            app,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=EXPOSED,
        )
    return ContextMiddleware(app, metrics, settings, behind_serve=behind_serve)
