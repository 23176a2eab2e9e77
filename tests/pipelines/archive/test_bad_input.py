"""Everything that lies in real archives gets a row; the rest of its chunk is done."""

from __future__ import annotations

import io
import os
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deepsic.limits import Limits
from pipelines.archive.ledger import FAILED, OK, SKIPPED, UNSUPPORTED, Ledger, LedgerRow
from pipelines.archive.listing.chunks import Chunk, Item
from pipelines.archive.work.check import Check, Verify
from pipelines.archive.work.chunk import ArchiveJob, compress_chunk
from pipelines.archive.work.codec import loaded_codec

from .conftest import save_image
from .fakes import _Webp

MakeJob = Callable[..., ArchiveJob]


def work(job: ArchiveJob) -> dict[str, LedgerRow]:
    chunk = Chunk(tuple(Item(info) for info in job.source.list()))
    compress_chunk(job, chunk)
    rows = Ledger(job.destination).rows(chunk.part(job.settings.job_id))
    assert rows is not None
    assert [row.source_key for row in rows] == sorted(item.info.key for item in chunk.items)
    return {row.source_key: row for row in rows}


def jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG")
    return buffer.getvalue()


def png_bomb(side: int) -> bytes:
    """A PNG of side x side black pixels in a few kB."""

    def part(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    body = zlib.compress(b"\0" * ((side // 8 + 1) * side), 9)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", body) + part(b"IEND", b"")


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """One of each kind of trouble, and one good image."""
    folder = tmp_path / "zoo"
    save_image(folder / "good.png", 1)
    colour = Image.open(folder / "good.png").convert("RGB")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "truncated.jpg").write_bytes(jpeg(colour)[:300])
    colour.convert("CMYK").save(folder / "cmyk.jpg")
    sixteen = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    Image.fromarray(sixteen).save(folder / "sixteen.png")
    Image.new("RGB", (1, 1), (9, 9, 9)).save(folder / "1x1.png")
    Image.new("L", (1, 16000), 99).save(folder / "tall.png")
    frames = [Image.new("L", (9, 9), shade) for shade in (0, 99, 200)]
    for suffix in ("gif", "webp"):
        frames[0].save(folder / f"moves.{suffix}", save_all=True, append_images=frames[1:])
    (folder / "bomb.png").write_bytes(png_bomb(20_000))
    (folder / "notes.txt").write_text("hello")
    (folder / "old.sic").write_bytes(b"SIC")
    (folder / "same.jpg").write_bytes(jpeg(colour))
    colour.save(folder / "same.png")
    save_image(folder / "日本 語/ü é 😀.png", 3)
    deep = folder / "/".join(["d" * 200] * 4)
    save_image(deep / ("n" * 190 + ".png"), 4)
    (folder / "loop").symlink_to(folder)
    (folder / "nothing.jpg").symlink_to(folder / "isn't there.jpg")
    (folder / "self.jpg").symlink_to(folder / "self.jpg")
    (folder / "link.png").symlink_to(folder / "good.png")
    os.mkfifo(folder / "pipe.png")
    return folder


def test_every_kind_of_trouble_has_its_row(zoo: Path, tmp_path: Path, make_job: MakeJob) -> None:
    check = Check(verify=Verify.DECODE, psnr_floor=5)
    job = make_job(zoo, tmp_path / "out", check=check, limits=Limits(max_pixels=100_000_000))
    rows = work(job)
    expected = {
        "1x1.png": (OK, ""),
        "bomb.png": (FAILED, "limit"),
        "cmyk.jpg": (OK, ""),
        "empty.jpg": (FAILED, "input"),
        "good.png": (OK, ""),
        "link.png": (OK, ""),
        "loop": (FAILED, "input"),
        "moves.gif": (UNSUPPORTED, ""),
        "moves.webp": (UNSUPPORTED, ""),
        "nothing.jpg": (FAILED, "input"),
        "notes.txt": (SKIPPED, ""),
        "old.sic": (SKIPPED, ""),
        "pipe.png": (FAILED, "input"),
        "same.jpg": (OK, ""),
        "same.png": (OK, ""),
        "self.jpg": (FAILED, "input"),
        "sixteen.png": (OK, ""),
        "tall.png": (OK, ""),
        "truncated.jpg": (FAILED, "input"),
        "日本 語/ü é 😀.png": (OK, ""),
    }
    long = next(key for key in rows if key.startswith("d" * 200))
    expected[long] = (OK, "")
    assert {key: (row.status, row.kind) for key, row in rows.items()} == expected
    assert all(row.reason for row in rows.values() if row.status != OK)
    assert len({row.output_key for row in rows.values() if row.status == OK}) == 10
    for row in rows.values():
        if row.status == OK:
            assert (tmp_path / "out" / row.output_key).stat().st_size == row.output_size


def test_objects_that_vanish_or_change_after_the_listing(
    photos: Path, tmp_path: Path, make_job: MakeJob
) -> None:
    job = make_job(photos, tmp_path / "out")
    chunk = Chunk(tuple(Item(info) for info in job.source.list()))
    (photos / "f0/p00.png").unlink()
    save_image(photos / "f1/p01.png", 99, (64, 64))
    compress_chunk(job, chunk)
    rows = {
        row.source_key: row
        for row in Ledger(job.destination).rows(chunk.part(job.settings.job_id)) or ()
    }
    assert (rows["f0/p00.png"].status, rows["f0/p00.png"].kind) == (FAILED, "source")
    changed = rows["f1/p01.png"]
    listed = {info.key: info for info in job.source.list()}
    assert (changed.status, changed.width) == (OK, 64)
    assert changed.source_etag == listed["f1/p01.png"].etag


def test_an_image_below_the_floor_fails(photos: Path, tmp_path: Path, make_job: MakeJob) -> None:
    check = Check(verify=Verify.DECODE, psnr_floor=98)
    rows = work(make_job(photos, tmp_path / "out", check=check))
    assert {(row.status, row.kind) for row in rows.values()} == {(FAILED, "verification")}
    assert not list((tmp_path / "out").rglob("*.sic"))


def test_a_slow_first_image_is_nobodys_fault(
    photos: Path, tmp_path: Path, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Compiles(_Webp):
        ready = False

        def encode(self, image: Image.Image, **settings: Any) -> bytes:
            if not self.ready:
                time.sleep(1.5)  # longer than a batch of eight may take
                self.ready = True
            return super().encode(image, **settings)

    job = make_job(photos, tmp_path / "out", seconds_per_image=0.15)
    monkeypatch.setattr(type(job.codec), "load", lambda source: Compiles())
    loaded_codec.cache_clear()
    try:
        rows = work(job)
    finally:
        loaded_codec.cache_clear()
    assert {(row.status, row.kind) for row in rows.values()} == {(OK, "")}


def test_a_chunk_done_twice_writes_one_part(
    photos: Path, tmp_path: Path, make_job: MakeJob
) -> None:
    job = make_job(photos, tmp_path / "out")
    chunk = Chunk(tuple(Item(info) for info in job.source.list()))
    first = compress_chunk(job, chunk)
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.sic")}
    assert compress_chunk(job, chunk) == first
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.sic")}
    assert len(list((tmp_path / "out").rglob("*.parquet"))) == 1
