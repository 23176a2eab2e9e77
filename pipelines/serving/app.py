"""Joins the parts into one ASGI application."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from pipelines.serving.api.codec import api_router
from pipelines.serving.api.pages import add_pages
from pipelines.serving.http.auth import AuthMiddleware
from pipelines.serving.http.bounds import BoundsMiddleware
from pipelines.serving.http.context import ContextMiddleware
from pipelines.serving.http.metrics import Metrics
from pipelines.serving.http.problems import install_handlers
from pipelines.serving.settings import ServeSettings
from pipelines.serving.work.backends import Backend

__all__ = ["create_api", "create_app"]

ABOUT = """
Pictures to `.sic` files and back. A file's first bytes say what the picture shows;
`POST /v1/labels` with the first 256 of them is enough.
"""


def create_api(settings: ServeSettings, backend: Backend, metrics: Metrics) -> FastAPI:
    """The routes, without the layers that protect them."""
    app = FastAPI(title="DeepSIC", version="1", description=ABOUT, docs_url=None, redoc_url=None)
    install_handlers(app, settings.retry_after_s)
    app.include_router(api_router(settings, backend, metrics))
    add_pages(app, backend, metrics)
    return app


def create_app(settings: ServeSettings, backend: Backend, *, behind_serve: bool = False) -> ASGIApp:
    """The whole service over `backend`. Raises `UsageError` for a token that can't be used."""
    metrics = Metrics()
    app: ASGIApp = create_api(settings, backend, metrics)
    app = BoundsMiddleware(app, settings)
    app = AuthMiddleware(app, settings.token(), settings.cors_origins)
    if settings.cors_origins:
        app = CORSMiddleware(
            app,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
            expose_headers=["ETag", "Server-Timing", "X-Request-Id", "X-Sic-Bpp", "X-Sic-Quality"],
        )
    return ContextMiddleware(app, metrics, behind_serve=behind_serve)
