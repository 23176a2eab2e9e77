"""The codec over HTTP: encode, decode, labels, info, models."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response

from deepsic.bitstream.container import read_semantics
from deepsic.bitstream.header import Prefix
from deepsic.errors import UnknownModelError, UsageError
from deepsic.labels import TOP
from deepsic.targets import Goal
from pipelines.serving.api.requests import (
    SIC_MEDIA_TYPE,
    Handle,
    NotAcceptableError,
    Parts,
    answers,
    body_of,
    new_router,
    timing,
)
from pipelines.serving.api.schemas import (
    FileInfo,
    FileLabels,
    ModelOut,
    Service,
    ServiceLimits,
    header_of,
    labels_of,
)
from pipelines.serving.http.problems import PROBLEM_RESPONSES
from pipelines.serving.work import baselines, images
from pipelines.serving.work.jobs import DecodeJob, EncodeJob, LabelsJob

__all__ = ["Tune", "codec_router", "goal_of", "known_model"]

Quality = Annotated[
    int | None,
    Query(ge=1, le=100, description="50 if no size is given", examples=[60]),
]
BitsPerPixel = Annotated[
    float | None,
    Query(gt=0, le=24, allow_inf_nan=False, description="Of the whole file", examples=[0.25]),
]
MaxBytes = Annotated[
    int | None, Query(ge=64, le=2**31, description="The file stays below", examples=[20_000])
]
Model = Annotated[str | None, Query(max_length=100, description="See /v1/models", examples=["sic"])]
Width = Annotated[int | None, Query(ge=1, le=65_535, description="Pixels at most", examples=[320])]


Tune = Annotated[
    Literal["psnr", "ssim"] | None,
    Query(
        description="psnr: least squared error; ssim: most structural similarity, the default of "
        "models that are tuned for it"
    ),
]


RefineFor = Annotated[
    list[str] | None,
    Query(
        max_length=4,
        description="Networks that the file is fitted to, in some seconds; see /v1/models",
    ),
]


def goal_of(quality: Quality = None, bpp: BitsPerPixel = None, max_bytes: MaxBytes = None) -> Goal:
    """What the parameters ask of a file. Raises: `UsageError`, more than one of them."""
    goal = Goal(quality=quality, bpp=bpp, max_bytes=max_bytes)
    return Goal(quality=50) if goal == Goal() else goal


async def known_model(parts: Parts, name: str | None) -> str:
    """The name of an offered model; None: the default. Raises: `UnknownModelError`."""
    models = await parts.backend.models()
    if name is None:
        return models[0].name
    if name not in {model.name for model in models}:
        raise UnknownModelError(f"model {name[:100]!r} isn't offered here; see /v1/models")
    return name


def offered_networks(parts: Parts, names: Sequence[str]) -> tuple[str, ...]:
    """Networks that files may be refined for here. Raises: `UsageError` for others."""
    offered = parts.settings.refine_for
    for name in names:
        if name not in offered:
            raise UsageError(
                f"no refinement for {name[:100]!r} here; there is: {', '.join(offered) or 'none'}"
            )
    return tuple(dict.fromkeys(names))


def codec_router(parts: Parts) -> APIRouter:
    """`/v1/encode` and its like."""
    router = new_router("codec")
    add_encode(router, parts)
    add_decode(router, parts)
    add_facts(router, parts)
    return router


def add_encode(router: APIRouter, parts: Parts) -> None:
    """`/v1/encode`."""

    @router.post(
        "/encode",
        summary="Image to .sic",
        response_class=Response,
        responses=answers(
            SIC_MEDIA_TYPE,
            X_Sic_Bpp="Bits a pixel of the whole file",
            X_Sic_Width="Pixels",
            X_Sic_Height="Pixels",
            X_Sic_Quality="1 to 100",
            X_Sic_Handle="With keep=true: the file as an upload",
        ),
        openapi_extra=body_of("image/*"),
    )
    async def encode(
        request: Request,
        goal: Annotated[Goal, Depends(goal_of)],
        model: Model = None,
        tune: Tune = None,
        labels: Annotated[bool, Query(description="Store what a classifier sees")] = True,
        upload: Handle = None,
        keep: Annotated[bool, Query(description="Keep the file as an upload too")] = False,
        refine_for: RefineFor = None,
    ) -> Response:
        started = time.perf_counter()
        data, size = await parts.image_of(request, upload)
        job = EncodeJob(
            data=data,
            pixels=size.pixels,
            model=await known_model(parts, model),
            goal=goal,
            labels=labels,
            tune=tune,
            refine_for=offered_networks(parts, refine_for or ()),
        )
        done = await parts.do(request, job)
        header = Prefix.unpack(done.blob).header
        pixels = header.width * header.height
        parts.metrics.work("encode", pixels=pixels, sic_bytes=len(done.blob), seconds=done.seconds)
        parts.metrics.batch.observe(done.batch)
        headers = {
            "X-Sic-Bpp": f"{8 * len(done.blob) / pixels:.4f}",
            "X-Sic-Width": str(header.width),
            "X-Sic-Height": str(header.height),
            "X-Sic-Quality": str(header.quality),
            "Content-Disposition": 'attachment; filename="picture.sic"',
            "Server-Timing": timing(codec=done.seconds, total=time.perf_counter() - started),
        }
        if keep:
            headers["X-Sic-Handle"] = await parts.keep(request, done.blob)
        return await parts.binary(done.blob, SIC_MEDIA_TYPE, headers)


def add_decode(router: APIRouter, parts: Parts) -> None:
    """`/v1/decode`."""
    stated = {**answers(*images.MEDIA_TYPES), 406: PROBLEM_RESPONSES[400]}

    async def decoded(request: Request, data: bytes, width: int | None) -> Response:
        started = time.perf_counter()
        media_type = images.choose_media_type(request.headers.get("accept"))
        if media_type is None:
            raise NotAcceptableError(f"this gives {', '.join(images.MEDIA_TYPES)}")
        model, pixels = await parts.maker_of(data)
        job = DecodeJob(data=data, pixels=pixels, model=model, media_type=media_type, width=width)
        done = await parts.do(request, job)
        answer = await parts.image_answer(done, started, "decode", len(data))
        answer.headers["Vary"] = "Accept"
        return answer

    @router.post(
        "/decode",
        summary=".sic to PNG, WebP or JPEG, by Accept",
        response_class=Response,
        responses=stated,
        openapi_extra=body_of(SIC_MEDIA_TYPE),
    )
    async def decode(request: Request, upload: Handle = None, width: Width = None) -> Response:
        return await decoded(request, await parts.file_of(request, upload), width)

    @router.get(
        "/decode",
        summary="A .sic file that was uploaded, as an image; for thumbnails on a page",
        response_class=Response,
        responses=stated,
    )
    async def decode_upload(
        request: Request,
        upload: Annotated[str, Query(pattern="^[A-Za-z0-9_-]{24}$")],
        width: Width = None,
    ) -> Response:
        answer = await decoded(request, await parts.kept(upload), width)
        answer.headers["Cache-Control"] = "private, max-age=600"
        return answer


def add_facts(router: APIRouter, parts: Parts) -> None:
    """`/v1/labels`, `/v1/info`, `/v1/models`."""

    @router.post(
        "/labels",
        summary="What a file shows; its first 256 bytes are enough",
        responses=PROBLEM_RESPONSES,
        openapi_extra=body_of(SIC_MEDIA_TYPE),
    )
    async def labels(
        request: Request,
        top: Annotated[int, Query(ge=1, le=31, description="Labels at most")] = TOP,
        look: Annotated[
            bool,
            Query(description="If none are stored, let the model read the whole file's features"),
        ] = False,
        upload: Handle = None,
    ) -> FileLabels:
        data = await parts.file_of(request, upload)
        prefix = Prefix.unpack(data)
        stored = read_semantics(data)
        header = header_of(prefix, data)
        if stored is not None:
            return FileLabels(**labels_of(stored.labels[:top]), source="file", **header)
        if not look:
            reason = "no labels are stored in this file; look=true has the model read all of it"
            return FileLabels(labels=[], source="none", reason=reason, **header)
        model, pixels = await parts.maker_of(data)
        try:
            seen = await parts.do(
                request, LabelsJob(data=data, pixels=pixels, model=model, top=top)
            )
        except UsageError as error:  # this model reads no labels
            return FileLabels(labels=[], source="none", reason=str(error), **header)
        return FileLabels(**labels_of(seen), source="model", **header)

    @router.post(
        "/info",
        summary="A file's header; its first 256 bytes are enough",
        responses=PROBLEM_RESPONSES,
        openapi_extra=body_of(SIC_MEDIA_TYPE),
    )
    async def info(request: Request, upload: Handle = None) -> FileInfo:
        data = await parts.file_of(request, upload)
        prefix = Prefix.unpack(data)
        stored = read_semantics(data)
        names = {model.identity: model.name for model in await parts.backend.models()}
        return FileInfo(
            model_name=names.get(prefix.header.model_id.hex()),
            **labels_of(stored.labels if stored else ()),
            **header_of(prefix, data),
        )

    @router.get("/models", summary="Models and limits of this service", responses=PROBLEMS_OF_GET)
    async def models(response: Response) -> Service:
        response.headers["Cache-Control"] = "private, no-cache"
        offered = await parts.backend.models()
        return Service(
            models=[ModelOut(**asdict(model)) for model in offered],
            default=offered[0].name,
            classifier=await parts.backend.classifier(),
            refine_for=list(parts.settings.refine_for),
            baselines=baselines.available(),
            limits=ServiceLimits(
                max_body_bytes=parts.settings.max_body_bytes, max_pixels=parts.settings.max_pixels
            ),
        )


PROBLEMS_OF_GET: dict[int | str, dict[str, Any]] = {
    status: PROBLEM_RESPONSES[status] for status in (400, 401, 503, 504)
}
