"""A worker that is killed within a chunk, and what the next one finds at its keys."""

from __future__ import annotations

import errno
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from pipelines.archive.ledger import OK, Ledger
from pipelines.archive.listing.chunks import Chunk, Item
from pipelines.archive.work.chunk import ArchiveJob, compress_chunk
from pipelines.storage import LocalStorage

from .conftest import save_image
from .fakes import STALL

MakeJob = Callable[..., ArchiveJob]


def killed_in(make_job: MakeJob, folder: Path, destination: object) -> ArchiveJob:
    """A job whose worker wrote the output of `a.png`, and died over the next before its rows.

    Since then `a.png` has changed.
    """
    save_image(folder / "a.png", 1, size=(40, 24))
    Image.new("RGB", (8, 8), STALL).save(folder / "b.png")
    job = make_job(folder, destination)
    if isinstance(job.destination, LocalStorage):  # else a.png would wait for b.png
        job = replace(job, destination=replace(job.destination, write_batch=1))
    worker = multiprocessing.get_context("spawn").Process(
        target=compress_chunk, args=(job, chunk(job))
    )
    worker.start()
    patience = time.monotonic() + 60
    while not job.destination.exists("a.png.sic"):
        assert time.monotonic() < patience
        time.sleep(0.02)
    worker.kill()
    worker.join()
    assert Ledger(job.destination).parts() == []
    (folder / "b.png").unlink()
    save_image(folder / "a.png", 2, size=(40, 24))
    return job


@pytest.fixture
def killed(make_job: MakeJob, tmp_path: Path) -> ArchiveJob:
    return killed_in(make_job, tmp_path / "in", tmp_path / "archive")


def chunk(job: ArchiveJob) -> Chunk:
    return Chunk(tuple(Item(info) for info in job.source.list()))


def outcome(job: ArchiveJob) -> tuple[str, str]:
    compress_chunk(job, chunk(job))
    (row,) = [row for table in Ledger(job.destination).tables(()) for row in table.to_pylist()]
    return row["status"], row["kind"]


def gives_way(job: ArchiveJob) -> None:
    before = job.destination.get("a.png.sic").data
    assert outcome(job) == (OK, "")
    assert job.destination.get("a.png.sic").data != before


def test_its_own_unrecorded_output_gives_way_to_a_changed_source(killed: ArchiveJob) -> None:
    gives_way(killed)


def test_in_a_bucket_as_well(make_job: MakeJob, tmp_path: Path, bucket: str) -> None:
    gives_way(killed_in(make_job, tmp_path / "in", f"{bucket}/archive"))


def test_what_anybody_else_wrote_there_stays(killed: ArchiveJob) -> None:
    killed.destination.put("a.png.sic", b"mine")
    assert outcome(killed) == ("failed", "conflict")
    assert killed.destination.get("a.png.sic").data == b"mine"


def test_an_output_that_somebody_edited_where_it_lies_stays(
    killed: ArchiveJob, tmp_path: Path
) -> None:
    with (tmp_path / "archive/a.png.sic").open("r+b") as file:
        file.write(b"EDIT")
    assert outcome(killed) == ("failed", "conflict")
    assert killed.destination.get("a.png.sic").data.startswith(b"EDIT")


@pytest.fixture
def without_attributes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has no extended attributes."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(os, "setxattr", refuse)
    monkeypatch.setattr(os, "getxattr", refuse)


@pytest.mark.usefixtures("without_attributes")
def test_without_extended_attributes_an_unrecorded_output_gives_way_when_asked(
    killed: ArchiveJob,
) -> None:
    assert outcome(killed) == ("failed", "conflict")
    before = killed.destination.get("a.png.sic").data
    again = Chunk(tuple(Item(info, attempt=2) for info in killed.source.list()))
    assert compress_chunk(replace(killed, overwrite=True), again).ok == 1
    assert killed.destination.get("a.png.sic").data != before


@pytest.mark.usefixtures("without_attributes")
def test_a_file_system_without_extended_attributes_serves_as_well(
    tmp_path: Path, make_job: MakeJob
) -> None:
    save_image(tmp_path / "in/a.png", 1)
    job = make_job(tmp_path / "in", tmp_path / "archive")
    assert outcome(job) == (OK, "")
    assert job.destination.exists("a.png.sic")
