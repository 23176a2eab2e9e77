"""What the page asks beside the codec: uploads, baselines, measures, and what a classifier sees."""

from __future__ import annotations

import re
import time
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from deepsic.bitstream.header import Prefix
from pipelines.serving.api.requests import (
    SIC_MEDIA_TYPE,
    Handle,
    Parts,
    answers,
    body_of,
    new_router,
)
from pipelines.serving.api.schemas import Classified, Measures, UploadOut, label_of
from pipelines.serving.http.problems import PROBLEM_RESPONSES
from pipelines.serving.work import images
from pipelines.serving.work.jobs import (
    BaselineJob,
    ClassifyJob,
    DecodeJob,
    HeatJob,
    MeasureJob,
    ShrinkJob,
)

__all__ = ["compare_router", "upload_router"]

SIGNATURE = b"SIC"
HANDLE = "^[A-Za-z0-9_-]{24}$"
RANGE = re.compile(r"bytes=(\d+)-(\d*)")


def upload_router(parts: Parts) -> APIRouter:
    """`/v1/uploads`: send a file once, work on it several times."""
    router = new_router("uploads")

    @router.post(
        "/uploads",
        status_code=201,
        summary="Keep an image or a .sic file for further requests",
        responses=PROBLEM_RESPONSES,
        openapi_extra=body_of("image/*", SIC_MEDIA_TYPE, required=True),
    )
    async def upload(
        request: Request,
        response: Response,
        longest: Annotated[
            int | None,
            Query(ge=16, le=65_535, description="Reduce an image to that, pixels", examples=[1600]),
        ] = None,
    ) -> UploadOut:
        data = await parts.file_of(request, None)
        if data.startswith(SIGNATURE):
            header = Prefix.unpack(data).header
            given = size = (header.width, header.height)
        else:
            measured = images.measure(data, parts.settings.limits)
            given = size = (measured.width, measured.height)
            if longest is not None and max(given) > longest:
                job = ShrinkJob(data=data, pixels=measured.pixels, longest=longest)
                done = await parts.do(request, job)
                data, size = done.data, (done.width, done.height)
        handle = await parts.keep(request, data)
        response.headers["Location"] = f"/v1/uploads/{handle}"
        return UploadOut(
            handle=handle,
            expires_in_s=parts.settings.upload_s,
            width=size[0],
            height=size[1],
            given_width=given[0],
            given_height=given[1],
        )

    @router.get(
        "/uploads/{handle}",
        summary="The file, or a range of it: labels first, then the rest",
        response_class=Response,
        responses=answers("application/octet-stream", Accept_Ranges="bytes"),
    )
    async def download(request: Request, handle: str) -> Response:
        data = await parts.kept(handle)
        headers = {"Accept-Ranges": "bytes", "Cache-Control": "private, max-age=600"}
        asked = RANGE.fullmatch(request.headers.get("range", ""))
        if asked is None:
            return await parts.binary(data, "application/octet-stream", headers)
        first, last = int(asked[1]), min(int(asked[2] or len(data) - 1), len(data) - 1)
        if first > last:
            return Response(status_code=416, headers={"Content-Range": f"bytes */{len(data)}"})
        headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        piece = data[first : last + 1]
        return Response(piece, 206, headers=headers, media_type="application/octet-stream")

    return router


def compare_router(parts: Parts) -> APIRouter:
    """`/v1/baseline` and its like."""
    router = new_router("compare")
    add_measures(router, parts)
    add_classifier(router, parts)
    return router


def add_measures(router: APIRouter, parts: Parts) -> None:
    """`/v1/baseline` and `/v1/measure`."""
    limits = parts.settings.limits

    @router.post(
        "/baseline",
        summary="The same image as JPEG, WebP or AVIF of at most as many bytes",
        response_class=Response,
        responses=answers(
            "image/jpeg",
            "image/webp",
            "image/avif",
            X_Quality="The codec's own",
            X_Fits="no: it can't be that small, this is its smallest",
            X_Pixel_Bytes="Without metadata",
            X_Handle="With keep=true: the file as an upload",
        ),
        openapi_extra=body_of("image/*"),
    )
    async def baseline(
        request: Request,
        max_bytes: Annotated[
            int, Query(ge=64, le=2**31, description="Without metadata", examples=[20_000])
        ],
        format: Annotated[str, Query(pattern="^(jpeg|webp|avif)$", examples=["avif"])] = "jpeg",
        upload: Handle = None,
        keep: Annotated[bool, Query(description="Keep the file as an upload too")] = False,
    ) -> Response:
        started = time.perf_counter()
        data, size = await parts.image_of(request, upload)
        job = BaselineJob(data=data, pixels=size.pixels, format=format, max_bytes=max_bytes)
        done = await parts.do(request, job)
        answer = await parts.image_answer(done, started, "baseline", 0)
        if keep:
            answer.headers["X-Handle"] = await parts.keep(request, done.data)
        return answer

    @router.post(
        "/measure",
        summary="How close a file is to the image it was made from",
        responses=PROBLEM_RESPONSES,
    )
    async def measure(
        request: Request,
        upload: Annotated[str, Query(pattern=HANDLE, description="The image's handle")],
        file: Annotated[str, Query(pattern=HANDLE, description="The file's handle")],
    ) -> Measures:
        data, made = await parts.kept(upload), await parts.kept(file)
        size = images.measure(data, limits)
        model = ""
        if made.startswith(SIGNATURE):
            model, _ = await parts.maker_of(made)
        else:
            images.measure(made, limits)
        job = MeasureJob(data=data, pixels=2 * size.pixels, model=model, file=made)
        found = await parts.do(request, job)
        labels = None if found.labels is None else [label_of(label) for label in found.labels]
        return Measures(psnr=found.psnr, ms_ssim=found.ms_ssim, labels=labels)


def add_classifier(router: APIRouter, parts: Parts) -> None:
    """`/v1/classify` and `/v1/heatmap`."""
    limits = parts.settings.limits

    async def picture_of(request: Request, upload: str | None) -> tuple[bytes, int]:
        """An image file, or the image of a `.sic` file, and its pixels."""
        data = await parts.file_of(request, upload)
        if not data.startswith(SIGNATURE):
            return data, images.measure(data, limits).pixels
        model, pixels = await parts.maker_of(data)
        job = DecodeJob(data=data, pixels=pixels, model=model, media_type="image/png")
        return (await parts.do(request, job)).data, pixels

    @router.post(
        "/classify",
        summary="What the classifier sees in an image or a .sic file",
        responses=PROBLEM_RESPONSES,
        openapi_extra=body_of("image/*", SIC_MEDIA_TYPE),
    )
    async def classify(request: Request, upload: Handle = None) -> Classified:
        data, pixels = await picture_of(request, upload)
        found = await parts.do(request, ClassifyJob(data=data, pixels=pixels))
        return Classified(labels=[label_of(label) for label in found])

    @router.post(
        "/heatmap",
        summary="What the classifier weighs, as a gray PNG",
        response_class=Response,
        responses=answers("image/png", X_Label="Name of the class", X_Wnid="Its number"),
        openapi_extra=body_of("image/*", SIC_MEDIA_TYPE),
    )
    async def heatmap(
        request: Request,
        label: Annotated[
            str | None, Query(pattern="^n[0-9]{8}$", description="wnid", examples=["n02102040"])
        ] = None,
        upload: Handle = None,
    ) -> Response:
        started = time.perf_counter()
        data, pixels = await picture_of(request, upload)
        done = await parts.do(request, HeatJob(data=data, pixels=pixels, label=label))
        return await parts.image_answer(done, started, "heatmap", 0)
