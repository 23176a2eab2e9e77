"""The API: each endpoint checks its input, hands the work on, and dresses the answer."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from starlette.datastructures import UploadFile

from deepsic.bitstream.container import Layout, read_semantics
from deepsic.bitstream.header import Header, Prefix
from deepsic.bitstream.semantics import Label
from deepsic.errors import InputError, UnknownModelError, UsageError
from deepsic.labels import label_set
from pipelines.serving.http.metrics import Metrics
from pipelines.serving.http.problems import PROBLEM_RESPONSES
from pipelines.serving.settings import ServeSettings
from pipelines.serving.work import baselines, images
from pipelines.serving.work.backends import Backend
from pipelines.serving.work.jobs import (
    BaselineJob,
    ClassifyJob,
    Decoded,
    DecodeJob,
    EncodeJob,
    HeatJob,
    LabelsJob,
)

__all__ = ["SIC_MEDIA_TYPE", "api_router"]

SIC_MEDIA_TYPE = "image/x-sic"
BINARY = {"schema": {"type": "string", "format": "binary"}}
FORM = {
    "schema": {
        "type": "object",
        "required": ["file"],
        "properties": {"file": {"type": "string", "format": "binary"}},
    }
}

Quality = Annotated[int | None, Query(ge=1, le=100, description="1 to 100; 50 if no size is given")]
BitsPerPixel = Annotated[
    float | None, Query(gt=0, le=24, allow_inf_nan=False, description="Header included")
]
MaxBytes = Annotated[int | None, Query(ge=64, le=2**31, description="The file stays below")]


def body_of(*kinds: str) -> dict[str, Any]:
    """OpenAPI's words for a raw body of any of `kinds`, or a form with one file."""
    content = {
        **dict.fromkeys((*kinds, "application/octet-stream"), BINARY),
        "multipart/form-data": FORM,
    }
    return {"requestBody": {"required": True, "content": content}}


def answers(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's words for a binary answer, beside the problems."""
    success = {"content": dict.fromkeys(media_types, BINARY), "description": "Success"}
    return {**PROBLEM_RESPONSES, 200: success}


async def body_bytes(request: Request) -> bytes:
    """The raw body, or the one file of a form. The bounds middleware limited its size."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return await request.body()
    async with request.form(max_files=1, max_fields=8) as form:
        for value in form.values():
            if isinstance(value, UploadFile):
                return await value.read()
    raise InputError("the form holds no file: send one as a field named 'file'")


def timing(**seconds: float) -> str:
    """A `Server-Timing` header.

    >>> timing(codec=0.0123)
    'codec;dur=12.3'
    """
    return ", ".join(f"{name};dur={1000 * value:.1f}" for name, value in seconds.items())


def etag(data: bytes) -> str:
    """A strong entity tag."""
    return f'"{hashlib.sha256(data).hexdigest()[:32]}"'


def binary(data: bytes, media_type: str, headers: Mapping[str, str]) -> Response:
    """A finished file as a response."""
    return Response(data, media_type=media_type, headers={"ETag": etag(data), **headers})


def label_json(label: Label) -> dict[str, Any]:
    """A label with its path down the WordNet tree, coarse to fine."""
    names = label_set("imagenet1k")
    known = bool(label.wnid) and label.wnid in names
    path = [node.name for node in names.path(label.wnid)] if known else []
    return {**asdict(label), "probability": round(label.probability, 4), "path": path}


def header_json(prefix: Prefix) -> dict[str, Any]:
    """What the first bytes of a file say, without its labels."""
    header: Header = prefix.header
    return {
        "width": header.width,
        "height": header.height,
        "mode": header.mode,
        "quality": header.quality,
        "model_id": header.model_id.hex(),
        "tiles": header.tile_count,
        "bytes_prefix": prefix.size,
        "bytes_semantics": len(prefix.semantics or b""),
        "bytes_picture": prefix.picture_bytes,
    }


def api_router(settings: ServeSettings, backend: Backend, metrics: Metrics) -> APIRouter:
    """`/v1/*` over `backend`."""
    router = APIRouter(prefix="/v1", tags=["codec"])
    limits = settings.limits

    async def picture_of(request: Request) -> tuple[bytes, images.Measured]:
        """The picture file that was sent, its header checked."""
        data = await body_bytes(request)
        return data, images.measure(data, limits)

    async def model_of(model_id: bytes) -> str:
        for model in await backend.models():
            if model.identity == model_id.hex():
                return model.name
        raise UnknownModelError(
            f"the file was made by model {model_id.hex()}, which isn't offered here"
        )

    def picture_answer(done: Decoded, started: float, verb: str, read: int) -> Response:
        pixels = done.width * done.height
        metrics.work(verb, pixels=pixels, sic_bytes=read, seconds=done.seconds)
        total = time.perf_counter() - started
        spent = timing(codec=done.seconds, total=total)
        return binary(done.data, done.media_type, {"Server-Timing": spent, **done.headers})

    @router.post(
        "/encode",
        summary="Picture to .sic",
        response_class=Response,
        responses=answers(SIC_MEDIA_TYPE),
        openapi_extra=body_of("image/*"),
    )
    async def encode(
        request: Request,
        quality: Quality = None,
        bpp: BitsPerPixel = None,
        max_bytes: MaxBytes = None,
        model: Annotated[str | None, Query(max_length=100, description="See /v1/models")] = None,
        labels: Annotated[bool, Query(description="Store what a classifier sees")] = True,
    ) -> Response:
        started = time.perf_counter()
        if sum(value is not None for value in (quality, bpp, max_bytes)) > 1:
            raise UsageError("give one of quality, bpp and max_bytes")
        data, size = await picture_of(request)
        job = EncodeJob(
            data=data,
            model=await known_model(model),
            quality=50 if bpp is None and max_bytes is None and quality is None else quality,
            bpp=bpp,
            max_bytes=max_bytes,
            labels=labels,
        )
        done = await backend.do(job)
        pixels = size.width * size.height
        metrics.work("encode", pixels=pixels, sic_bytes=len(done.blob), seconds=done.seconds)
        metrics.batch.observe(done.batch)
        prefix = Prefix.unpack(done.blob)
        headers = {
            "X-Sic-Bpp": f"{8 * len(done.blob) / pixels:.4f}",
            "X-Sic-Width": str(size.width),
            "X-Sic-Height": str(size.height),
            "X-Sic-Quality": str(prefix.header.quality),
            "Content-Disposition": 'attachment; filename="picture.sic"',
            "Server-Timing": timing(codec=done.seconds, total=time.perf_counter() - started),
        }
        return binary(done.blob, SIC_MEDIA_TYPE, headers)

    async def known_model(name: str | None) -> str:
        models = await backend.models()
        if name is None:
            return models[0].name
        if name not in {model.name for model in models}:
            raise UnknownModelError(f"model {name[:100]!r} isn't offered here; see /v1/models")
        return name

    @router.post(
        "/decode",
        summary=".sic to PNG, WebP or JPEG, by Accept",
        response_class=Response,
        responses={**answers(*images.MEDIA_TYPES), 406: PROBLEM_RESPONSES[400]},
        openapi_extra=body_of(SIC_MEDIA_TYPE),
    )
    async def decode(request: Request) -> Response:
        started = time.perf_counter()
        media_type = images.choose_media_type(request.headers.get("accept"))
        if media_type is None:
            raise NotAcceptableError(f"this gives {', '.join(images.MEDIA_TYPES)}")
        data = await body_bytes(request)
        header = Layout.of(data, limits).prefix.header
        model = await model_of(header.model_id)
        job = DecodeJob(data=data, model=model, media_type=media_type)
        answer = picture_answer(await backend.do(job), started, "decode", len(data))
        answer.headers["Vary"] = "Accept"
        return answer

    @router.post(
        "/labels",
        summary="What a file shows; its first 256 bytes are enough",
        responses=PROBLEM_RESPONSES,
        openapi_extra=body_of(SIC_MEDIA_TYPE),
    )
    async def labels(
        request: Request, top: Annotated[int, Query(ge=1, le=31)] = 5
    ) -> dict[str, Any]:
        data = await body_bytes(request)
        prefix = Prefix.unpack(data)
        stored = read_semantics(data)
        if stored is not None:
            found, source = list(stored.labels), "file"
        else:
            model = await model_of(prefix.header.model_id)
            Layout.of(data, limits)  # the model's head needs the whole file
            found = await backend.do(LabelsJob(data=data, model=model, top=top))
            source = "model"
        return {
            "labels": [label_json(label) for label in found[:top]],
            "source": source,
            **header_json(prefix),
        }

    @router.post(
        "/info",
        summary="A file's header; its first 256 bytes are enough",
        responses=PROBLEM_RESPONSES,
        openapi_extra=body_of(SIC_MEDIA_TYPE),
    )
    async def info(request: Request) -> dict[str, Any]:
        data = await body_bytes(request)
        prefix = Prefix.unpack(data)
        stored = read_semantics(data)
        names = {model.identity: model.name for model in await backend.models()}
        labels = [label_json(label) for label in stored.labels] if stored else []
        model = names.get(prefix.header.model_id.hex())
        return {**header_json(prefix), "model_name": model, "labels": labels}

    @router.get("/models", summary="Models and limits of this service")
    async def models() -> dict[str, Any]:
        offered = [asdict(model) for model in await backend.models()]
        return {
            "models": offered,
            "default": offered[0]["name"],
            "classifier": await backend.classifier(),
            "baselines": baselines.available(),
            "limits": {
                "max_body_bytes": settings.max_body_bytes,
                "max_pixels": settings.max_pixels,
            },
        }

    @router.post(
        "/baseline",
        tags=["page"],
        summary="The same picture as JPEG, WebP or AVIF of at most as many bytes",
        response_class=Response,
        responses=answers("image/jpeg", "image/webp", "image/avif"),
        openapi_extra=body_of("image/*"),
    )
    async def baseline(
        request: Request,
        max_bytes: Annotated[int, Query(ge=64, le=2**31)],
        format: Annotated[str, Query(pattern="^(jpeg|webp|avif)$")] = "jpeg",
    ) -> Response:
        started = time.perf_counter()
        data, _ = await picture_of(request)
        done = await backend.do(BaselineJob(data=data, format=format, max_bytes=max_bytes))
        return picture_answer(done, started, "baseline", 0)

    @router.post(
        "/classify",
        tags=["page"],
        summary="What the classifier sees in an ordinary picture",
        responses=PROBLEM_RESPONSES,
        openapi_extra=body_of("image/*"),
    )
    async def classify(request: Request) -> dict[str, Any]:
        data, _ = await picture_of(request)
        found = await backend.do(ClassifyJob(data=data))
        return {"labels": [label_json(label) for label in found]}

    @router.post(
        "/heatmap",
        tags=["page"],
        summary="What the classifier weighs, as a gray PNG",
        response_class=Response,
        responses=answers("image/png"),
        openapi_extra=body_of("image/*"),
    )
    async def heatmap(
        request: Request,
        label: Annotated[str | None, Query(pattern="^n[0-9]{8}$", description="wnid")] = None,
    ) -> Response:
        started = time.perf_counter()
        data, _ = await picture_of(request)
        done = await backend.do(HeatJob(data=data, label=label))
        return picture_answer(done, started, "heatmap", 0)

    return router


class NotAcceptableError(UsageError):
    """The client takes none of the formats that we write."""

    http_status = 406
    title = "Not acceptable"
