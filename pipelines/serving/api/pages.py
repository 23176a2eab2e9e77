"""The page, its sample photographs, the API's documentation, and the probes.

Nothing here makes a browser ask another origin.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from PIL import Image
from starlette.responses import FileResponse, HTMLResponse, JSONResponse
from starlette.staticfiles import StaticFiles

from deepsic.errors import DeepsicError
from pipelines.serving.http.metrics import CONTENT_TYPE_LATEST, Metrics
from pipelines.serving.http.problems import BusyError
from pipelines.serving.work.backends import Backend

__all__ = ["add_pages", "page_router"]

WEB = Path(__file__).resolve().parents[2] / "web"
DAY = {"Cache-Control": "public, max-age=86400"}
#: Kept, but asked about each time: a new version shows at once, and mostly the answer is 304.
ASK = {"Cache-Control": "no-cache"}
#: Photographs of which the classifier is right: file -> package folder (None: ours), caption.
SAMPLES: dict[str, tuple[str | None, str]] = {
    "dog.webp": (None, "A golden retriever"),
    "coffee.png": ("skimage.data", "Espresso"),
    "chelsea.png": ("skimage.data", "Chelsea, a cat"),
    "camera.png": ("skimage.data", "A camera on its tripod"),
    "guitar.webp": (None, "A guitar, of which the classifier isn't sure"),
}
MEDIA = {".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp"}


@cache
def sample_bytes(name: str) -> bytes | None:
    """A sample's file, or None if its package isn't installed."""
    package, _ = SAMPLES[name]
    if package is None:
        return (WEB / "samples" / name).read_bytes()
    if find_spec(package.partition(".")[0]) is None:
        return None
    # By the top package's folder: importing skimage or sklearn would take a second.
    top, *inner = package.split(".")
    file = files(top).joinpath(*inner, name)
    return file.read_bytes() if file.is_file() else None


@cache
def thumbnail(name: str) -> bytes:
    """A small JPEG of a sample."""
    image = Image.open(io.BytesIO(sample_bytes(name) or b"")).convert("RGB")
    image.thumbnail((240, 240))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=82)
    return out.getvalue()


def page_router(backend: Backend, metrics: Metrics) -> APIRouter:
    """Everything that isn't the API."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def page() -> Response:
        return FileResponse(WEB / "index.html", headers=ASK)

    @router.get("/favicon.ico")
    async def icon() -> Response:
        return FileResponse(WEB / "icon.svg", media_type="image/svg+xml", headers=DAY)

    _add_samples(router)
    _add_states(router, backend, metrics)

    @router.get("/openapi.json")
    async def openapi(request: Request) -> Response:
        return JSONResponse(request.app.openapi(), headers=ASK)

    @router.get("/docs")
    async def docs() -> Response:
        return swagger_page()

    return router


def _add_samples(router: APIRouter) -> None:
    """Photographs to try the page with."""

    @router.get("/samples")
    async def samples(response: Response) -> list[dict[str, str]]:
        response.headers.update(ASK)
        return [
            {"name": name, "caption": caption}
            for name, (_, caption) in SAMPLES.items()
            if sample_bytes(name) is not None
        ]

    @router.get("/samples/{name}")
    async def sample(name: str, thumb: bool = False) -> Response:
        data = sample_bytes(name) if name in SAMPLES else None
        if data is None:
            raise HTTPException(404, f"no sample {name[:40]!r}; see /samples")
        if thumb:
            return Response(thumbnail(name), media_type="image/jpeg", headers=DAY)
        return Response(data, media_type=MEDIA[Path(name).suffix], headers=DAY)


def _add_states(router: APIRouter, backend: Backend, metrics: Metrics) -> None:
    """What whoever runs the service asks."""

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Whether this process answers."""
        return {"status": "ok"}

    @router.get("/readyz")
    async def readyz() -> dict[str, Any]:
        """Whether a codec replica answers."""
        try:
            await backend.models()
            classifier = await backend.classifier()  # never cached: this reaches a replica
        except DeepsicError as error:
            raise BusyError(f"not ready: {error}") from error
        return {"status": "ready", "classifier": classifier}

    @router.get("/metrics")
    async def prometheus() -> Response:
        return Response(metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def swagger_folder() -> Path | None:
    """Where the package `fastapi-offline` keeps Swagger UI, if it is installed."""
    spec = find_spec("fastapi_offline")
    for place in (spec.submodule_search_locations if spec else None) or []:
        folder = Path(place, "static")
        if (folder / "swagger-ui-bundle.js").is_file():
            return folder
    return None


def swagger_page() -> Response:
    """Swagger UI from our own origin; without its package, a pointer to the OpenAPI document."""
    if swagger_folder() is None:
        return HTMLResponse(
            "<!doctype html><title>API</title><p>The API is described in "
            '<a href="/openapi.json">openapi.json</a>. For an interactive page: '
            "pip install fastapi-offline"
        )
    return FileResponse(WEB / "docs.html", headers=ASK)


class Static(StaticFiles):
    """Static files that say how long they may be kept."""

    def __init__(self, directory: Path, headers: Mapping[str, str]) -> None:
        super().__init__(directory=directory)
        self.headers = headers

    def file_response(self, *arguments: Any, **options: Any) -> Response:
        """A file, or 304."""
        answer = super().file_response(*arguments, **options)
        answer.headers.update(self.headers)
        return answer


def add_pages(app: FastAPI, backend: Backend, metrics: Metrics) -> None:
    """Mount the page and its files."""
    app.include_router(page_router(backend, metrics))
    folder = swagger_folder()
    if folder is not None:
        app.mount("/static/swagger", Static(folder, DAY), name="swagger")
    app.mount("/static", Static(WEB, ASK), name="static")
