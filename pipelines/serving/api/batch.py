"""Many images in one request: a zip comes in, a zip goes out as it is made."""

from __future__ import annotations

import asyncio
import io
import json
import time
import warnings
import zipfile
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from starlette.responses import StreamingResponse

from deepsic.errors import DeepsicError, InputError, LimitError
from pipelines.serving.api.codec import Tune, goal_of, known_model
from pipelines.serving.api.requests import (
    BINARY,
    Parts,
    form_files,
    is_form,
    new_router,
)
from pipelines.serving.http.problems import PROBLEM_RESPONSES, TimeLimitError
from pipelines.serving.work import images
from pipelines.serving.work.jobs import EncodeJob

__all__ = ["batch_router"]

MOST_IMAGES = 500
REPORT = "report.json"
FILES = {"type": "array", "items": BINARY["schema"]}
FORM = {"schema": {"type": "object", "required": ["file"], "properties": {"file": FILES}}}
BODIES = {"application/zip": BINARY, "multipart/form-data": FORM}
#: Of the request's time; what is left is for the answer's end.
TIME_SHARE = 0.8
#: What the standard library raises on zips that are damaged, encrypted, or packed otherwise.
UNPACKING = (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error)


class Outgoing(io.RawIOBase):
    """What a zip is written to: pieces are taken away as they come."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def writable(self) -> bool:
        """It can be written, and not sought in."""
        return True

    def write(self, data: Any) -> int:
        """Take a piece."""
        self.pieces.append(bytes(data))
        return len(self.pieces[-1])

    def take(self) -> bytes:
        """All that came since the last call."""
        data = b"".join(self.pieces)
        self.pieces.clear()
        return data


def open_zip(data: bytes) -> tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]:
    """The archive and the files in it. Raises: `InputError`, `LimitError`."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise InputError(f"the body is no zip of images: {error}") from error
    members = [member for member in archive.infolist() if not member.is_dir()]
    if not members:
        raise InputError("the zip holds no file")
    if len(members) > MOST_IMAGES:
        raise LimitError(f"{len(members):,} files in the zip: send at most {MOST_IMAGES}")
    return archive, members


async def zip_of(request: Request) -> bytes:
    """The zip that a request brings: as its body, or as a form's file or files."""
    if not is_form(request):
        return await request.body()
    files = await form_files(request, MOST_IMAGES)
    if len(files) == 1 and files[0][1].startswith(b"PK"):
        return files[0][1]
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w") as made:
        warnings.simplefilter("ignore", UserWarning)  # of equal names, which results tell apart
        for name, data in files:
            made.writestr(name, data)
    return out.getvalue()


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, max_bytes: int) -> bytes:
    """One file of the archive, as far as the limit. Raises: `InputError`, `LimitError`."""
    try:
        with archive.open(member) as file:
            data = file.read(max_bytes + 1)
    except (*UNPACKING, EOFError, OSError) as error:
        raise InputError(f"can't be unpacked: {error}") from error
    if len(data) > max_bytes:
        raise LimitError(f"more than {max_bytes:,} bytes unpacked")
    return data


def result_name(name: str, taken: set[str]) -> str:
    """`photos/cat.jpg` as `photos/cat.sic`; with its own ending before if that is taken."""
    path = PurePosixPath(name)
    wanted = str(path.with_suffix(".sic")) if path.name else "image.sic"
    number = 1
    while wanted in taken:
        wanted = f"{name}.sic" if number == 1 else f"{name} ({number}).sic"
        number += 1
    taken.add(wanted)
    return wanted


def batched(members: Sequence[zipfile.ZipInfo], count: int) -> Iterator[Sequence[zipfile.ZipInfo]]:
    """The files in groups of `count`, which are worked on together."""
    for start in range(0, len(members), count):
        yield members[start : start + count]


async def answer(
    members: Sequence[zipfile.ZipInfo],
    attempt: Callable[[zipfile.ZipInfo], Awaitable[bytes | DeepsicError]],
    together: int,
) -> AsyncIterator[bytes]:
    """Pieces of the zip of results as they are made, the report at its end.

    Args:
        attempt: a member's file, or why there is none.
        together: members in work at the same time.
    """
    report: list[dict[str, Any]] = []
    taken: set[str] = set()
    out = Outgoing()
    with zipfile.ZipFile(out, "w") as made:
        for group in batched(members, together):
            results = await asyncio.gather(*map(attempt, group))
            for member, result in zip(group, results, strict=True):
                line: dict[str, Any] = {"name": member.filename}
                if isinstance(result, DeepsicError):
                    line |= {"title": result.title, "detail": str(result)}
                else:
                    name = result_name(member.filename, taken)
                    line |= {"file": name, "bytes": len(result)}
                    made.writestr(name, result)
                report.append(line)
            yield out.take()
        made.writestr(REPORT, json.dumps(report, indent=1, ensure_ascii=False))
    yield out.take()


def batch_router(parts: Parts) -> APIRouter:
    """`/v1/batch`."""
    router = new_router("codec")

    @router.post(
        "/batch",
        summary="Images, as a zip or as the files of a form, to a zip of .sic files",
        description="The answer is sent as it is made, and ends with `report.json`: for each "
        "image its name, and the file's name and size or an error as `title` and `detail`.",
        response_class=Response,
        responses={
            **PROBLEM_RESPONSES,
            200: {"description": "Success", "content": {"application/zip": BINARY}},
        },
        openapi_extra={"requestBody": {"required": True, "content": BODIES}},
    )
    async def batch(
        request: Request,
        quality: Annotated[int | None, Query(ge=1, le=100, examples=[60])] = None,
        bpp: Annotated[float | None, Query(gt=0, le=24, allow_inf_nan=False)] = None,
        model: Annotated[str | None, Query(max_length=100)] = None,
        tune: Tune = None,
        labels: bool = True,
    ) -> Response:
        goal = goal_of(quality, bpp)
        archive, members = open_zip(await zip_of(request))
        model = await known_model(parts, model)

        async def encode(member: zipfile.ZipInfo) -> bytes:
            data = read_member(archive, member, parts.settings.max_body_bytes)
            size = images.measure(data, parts.settings.limits)
            job = EncodeJob(
                data=data,
                pixels=size.pixels,
                model=model,
                goal=goal,
                labels=labels,
                tune=tune,
            )
            return (await parts.do(request, job)).blob

        async def attempt(member: zipfile.ZipInfo, ends: float) -> bytes | DeepsicError:
            if time.monotonic() > ends:
                return TimeLimitError("no time was left: send it in another batch")
            try:
                return await encode(member)
            except DeepsicError as error:  # of this image: the others go on
                return error

        ends = time.monotonic() + TIME_SHARE * parts.settings.request_timeout_s
        pieces = answer(members, lambda m: attempt(m, ends), parts.settings.max_replicas)
        headers = {"Content-Disposition": 'attachment; filename="sic.zip"'}
        return StreamingResponse(pieces, media_type="application/zip", headers=headers)

    return router
