"""How endpoints read a request and write an answer."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import UploadFile

from deepsic.bitstream.container import Layout
from deepsic.errors import InputError, UnknownModelError, UsageError, counted
from pipelines.serving.http.manners import etag
from pipelines.serving.http.metrics import Metrics
from pipelines.serving.http.problems import PROBLEM_RESPONSES, UnknownUploadError
from pipelines.serving.settings import ServeSettings
from pipelines.serving.work import images
from pipelines.serving.work.backends import Backend, Queued
from pipelines.serving.work.jobs import Decoded, Job

__all__ = [
    "SIC_MEDIA_TYPE",
    "Handle",
    "NotAcceptableError",
    "Parts",
    "answers",
    "body_of",
    "new_router",
    "timing",
]

R = TypeVar("R")
SIC_MEDIA_TYPE = "image/x-sic"
BINARY = {"schema": {"type": "string", "format": "binary"}}
FORM = {
    "schema": {
        "type": "object",
        "required": ["file"],
        "properties": {"file": {"type": "string", "format": "binary"}},
    }
}
HEADERS = {
    "ETag": "Of the bytes",
    "Server-Timing": "Time in the codec and in all, ms",
    "X-Request-Id": "Names the request in the log",
}
Handle = Annotated[
    str | None,
    Query(
        pattern="^[A-Za-z0-9_-]{24}$",
        description="Handle of an upload, in place of a body",
        examples=["q3Zk0b9WQ0u5dT1mXy7c2A8f"],
    ),
]


class NotAcceptableError(UsageError):
    """The client takes none of the formats that we write."""

    http_status = 406
    title = "Not acceptable"


async def only_known_parameters(request: Request) -> None:
    """Refuse what the endpoint doesn't read: a misspelt parameter would be ignored in silence."""
    reads = request.scope["route"].dependant
    parts = (reads, *reads.dependencies)
    known = {str(field.alias) for part in parts for field in part.query_params}
    given = Counter(name for name, _ in request.query_params.multi_items())
    unknown = sorted(set(given) - known)
    if unknown:
        some = f"; known: {', '.join(sorted(known))}" if known else "; this endpoint has none"
        raise UsageError(f"unknown parameter {', '.join(name[:40] for name in unknown)}{some}")
    twice = [name for name, count in given.items() if count > 1]
    if twice:
        raise UsageError(f"{', '.join(twice)} is given more than once")


def new_router(tag: str) -> APIRouter:
    """A router below `/v1` whose endpoints refuse unknown parameters."""

    def name(route: APIRoute) -> str:
        return route.name

    return APIRouter(
        prefix="/v1",
        tags=[tag],
        dependencies=[Depends(only_known_parameters)],
        generate_unique_id_function=name,
    )


def body_of(*kinds: str, required: bool = False) -> dict[str, Any]:
    """OpenAPI's words for a raw body of any of `kinds`, or a form with one file."""
    content = {
        **dict.fromkeys(("application/octet-stream", *kinds), BINARY),
        "multipart/form-data": FORM,
    }
    return {"requestBody": {"required": required, "content": content}}


def answers(*media_types: str, **headers: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's words for a binary answer, beside the problems."""
    described = {**HEADERS, **{name.replace("_", "-"): text for name, text in headers.items()}}
    success = {
        "content": dict.fromkeys(media_types, BINARY),
        "description": "Success",
        "headers": {
            name: {"schema": {"type": "string"}, "description": text}
            for name, text in described.items()
        },
    }
    return {**PROBLEM_RESPONSES, 200: success}


async def form_files(request: Request, most: int) -> list[tuple[str, bytes]]:
    """Names and contents of a form's files. Raises: `UsageError` for anything else in it."""
    async with request.form(max_files=most + 1, max_fields=8) as form:
        items = form.multi_items()
        fields = sorted(name for name, value in items if not isinstance(value, UploadFile))
        if fields:
            raise UsageError(
                f"form field {', '.join(fields)[:100]}: parameters go into the address, as in "
                "?quality=50"
            )
        files = [value for _, value in items if isinstance(value, UploadFile)]
        return [(file.filename or "image", await file.read()) for file in files]


async def form_file(request: Request) -> bytes:
    """The one file of a form. Raises: `InputError` for none or several, `UsageError`."""
    files = await form_files(request, 1)
    if len(files) != 1:
        raise InputError(
            f"the form holds {counted(len(files), 'file')}: send one, as a field named 'file'"
        )
    return files[0][1]


def is_form(request: Request) -> bool:
    """Whether the body is a form."""
    return request.headers.get("content-type", "").startswith("multipart/form-data")


def timing(**seconds: float) -> str:
    """A `Server-Timing` header.

    >>> timing(codec=0.0123)
    'codec;dur=12.3'
    """
    return ", ".join(f"{name};dur={1000 * value:.1f}" for name, value in seconds.items())


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What all endpoints need: the settings, the backend with its queues, the metrics."""

    settings: ServeSettings
    backend: Backend
    queued: Queued
    metrics: Metrics

    async def file_of(self, request: Request, upload: str | None) -> bytes:
        """What the request is about: its body, the file of its form, or an earlier upload.

        The bounds middleware has limited the body's size.
        """
        data = await form_file(request) if is_form(request) else await request.body()
        if upload is None:
            return data
        if data:
            raise UsageError("give a body or upload=, not both")
        return await self.kept(upload)

    async def kept(self, handle: str) -> bytes:
        """An earlier upload. Raises: `UnknownUploadError`."""
        kept = await self.backend.kept(handle)
        if kept is None:
            raise UnknownUploadError
        return kept

    async def image_of(self, request: Request, upload: str | None) -> tuple[bytes, images.Size]:
        """An image file, its header checked."""
        data = await self.file_of(request, upload)
        return data, images.measure(data, self.settings.limits)

    async def maker_of(self, data: bytes) -> tuple[str, int]:
        """The offered model that made a whole `.sic` file, and the file's pixels."""
        header = Layout.of(data, self.settings.limits).prefix.header
        return await self.model_of(header.model_id), header.width * header.height

    async def model_of(self, model_id: bytes) -> str:
        """The offered model with an identity. Raises: `UnknownModelError`."""
        for model in await self.backend.models():
            if model.identity == model_id.hex():
                return model.name
        raise UnknownModelError(
            f"the file was made by model {model_id.hex()}, which isn't offered here"
        )

    async def do(self, request: Request, job: Job[R]) -> R:
        """Do a job when it is this client's turn."""
        return await self.queued.do(job, request.scope["deepsic.client"])

    async def keep(self, request: Request, data: bytes) -> str:
        """Keep a file for this client's further requests; its handle."""
        return await self.backend.keep(data, request.scope["deepsic.client"])

    async def binary(self, data: bytes, media_type: str, headers: Mapping[str, str]) -> Response:
        """A finished file as a response."""
        # Hashing a hundred megabytes takes a while, and others are waiting.
        tag = await asyncio.to_thread(etag, data)
        return Response(data, media_type=media_type, headers={"ETag": tag, **headers})

    async def image_answer(self, done: Decoded, started: float, verb: str, read: int) -> Response:
        """A finished image as a response; `read` is the size of the `.sic` file it is from."""
        pixels = done.width * done.height
        self.metrics.work(verb, pixels=pixels, sic_bytes=read, seconds=done.seconds)
        spent = timing(codec=done.seconds, total=time.perf_counter() - started)
        headers = {
            "Server-Timing": spent,
            "X-Width": str(done.width),
            "X-Height": str(done.height),
            **done.headers,
        }
        return await self.binary(done.data, done.media_type, headers)
