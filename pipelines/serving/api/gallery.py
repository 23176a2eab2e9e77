"""Files that ship with the page, and a search over them that reads only their first bytes."""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Response
from pydantic import BaseModel

from deepsic.bitstream.container import read_semantics
from deepsic.bitstream.header import Prefix
from deepsic.bitstream.semantics import Label
from deepsic.errors import CorruptFileError
from pipelines.serving.api.requests import Parts
from pipelines.serving.api.schemas import LabelOut, label_of, labels_of
from pipelines.serving.work.jobs import DecodeJob

__all__ = ["gallery_router"]

GALLERY = Path(__file__).resolve().parents[2] / "web" / "gallery"
#: Enough for nearly every file's labels; the rest is read if it isn't.
FIRST_BYTES, ENOUGH = 64, 256
WIDTHS = (160, 320, 480)
#: Whoever looks at the page shares this place in the queue.
VISITORS = "gallery"
KEEP = {"Cache-Control": "public, max-age=86400"}


class FoundFile(BaseModel):
    """A file that the search found."""

    name: str
    bytes: int
    width: int
    height: int
    labels: list[LabelOut]
    certain: LabelOut | None
    credit: str
    licence: str
    source: str


class Search(BaseModel):
    """What a search found, and what it took."""

    files: list[FoundFile]
    searched: int
    bytes_read: int
    bytes_jpeg: int
    ms: float


@dataclass(frozen=True)
class Origin:
    """Where a file's photograph is from, and its size as a JPEG of the same PSNR, bytes."""

    licence: str
    credit: str
    address: str
    jpeg: int


def rows(name: str) -> list[dict[str, str]]:
    """The rows of one of the gallery's tables."""
    with (GALLERY / name).open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines, delimiter="\t"))


@cache
def sources() -> dict[str, Origin]:
    """The gallery's files, in the order of its list."""
    jpeg = {row["name"]: int(row["bytes"]) for row in rows("jpeg.tsv")}
    found = {}
    for row in rows("sources.tsv"):
        name = f"{Path(row['file']).stem}.sic"
        found[name] = Origin(row["licence"], row["credit"], row["address"], jpeg[name])
    return found


def read_start(file: Path) -> tuple[Prefix, Sequence[Label], int]:
    """Header and labels of a file, and how many bytes had to be read."""
    with file.open("rb", buffering=0) as opened:
        data = opened.read(FIRST_BYTES)
        try:
            prefix = Prefix.unpack(data)
        except CorruptFileError:
            data += opened.read(ENOUGH - FIRST_BYTES)
            prefix = Prefix.unpack(data)
    stored = read_semantics(data)
    return prefix, stored.labels if stored else (), len(data)


def matches(labels: list[LabelOut], word: str) -> bool:
    """Whether a label, or what it is a kind of, has the words in its name."""
    wanted = word.lower().split()
    for label in labels:
        for name in (label.name, *label.path):
            words = name.lower().replace(",", " ").split()
            if all(one in words or one.removesuffix("s") in words for one in wanted):
                return True
    return False


def search(word: str) -> Search:
    """Read the first bytes of every file now, and keep those that match."""
    started = time.perf_counter()
    files, read = [], 0
    for name, source in sources().items():
        file = GALLERY / name
        prefix, seen, count = read_start(file)
        read += count
        labels = [label_of(label) for label in seen]
        # A label that is improbable says little; with it, everything would be found everywhere.
        likely = [label for label in labels if label.probability >= 0.2]
        if matches(likely, word):
            header = prefix.header
            files.append(
                FoundFile(
                    name=name,
                    bytes=file.stat().st_size,
                    width=header.width,
                    height=header.height,
                    **labels_of(seen),
                    credit=f"{source.credit}, {source.licence}",
                    licence=source.licence,
                    source=source.address,
                )
            )
    files.sort(key=lambda found: -found.labels[0].probability)
    return Search(
        files=files,
        searched=len(sources()),
        bytes_read=read,
        bytes_jpeg=sum(source.jpeg for source in sources().values()),
        ms=1000 * (time.perf_counter() - started),
    )


def gallery_router(parts: Parts) -> APIRouter:
    """`/gallery`."""
    router = APIRouter(include_in_schema=False)
    made: dict[tuple[str, int], Response] = {}

    @router.get("/gallery")
    async def find(word: Annotated[str, Query(max_length=60)] = "") -> Search:
        return search(word)

    @router.get("/gallery/{name}")
    async def image(name: str, width: int = 320) -> Response:
        if name not in sources() or width not in WIDTHS:
            raise HTTPException(404, f"no such image; widths are {', '.join(map(str, WIDTHS))}")
        if (name, width) not in made:
            data = (GALLERY / name).read_bytes()
            model, pixels = await parts.maker_of(data)
            job = DecodeJob(
                data=data, pixels=pixels, model=model, media_type="image/jpeg", width=width
            )
            done = await parts.queued.do(job, VISITORS)
            made[name, width] = await parts.binary(done.data, done.media_type, KEEP)
        return made[name, width]

    return router
