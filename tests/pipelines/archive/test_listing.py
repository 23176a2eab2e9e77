"""Which objects a run takes, and how the source is listed."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepsic.errors import InputError, StorageError, UsageError
from pipelines.archive.cluster import Resources
from pipelines.archive.job import RunOptions, run_job
from pipelines.archive.ledger import Ledger
from pipelines.archive.listing.chunks import Chunk, Item
from pipelines.archive.listing.pending import Pending
from pipelines.archive.listing.selection import Selection
from pipelines.archive.listing.spool import Spool
from pipelines.archive.tally import Tally
from pipelines.archive.work.chunk import ArchiveJob
from pipelines.storage import LocalStorage, ObjectInfo, Storage, open_storage
from pipelines.storage import partition as partition_module

MakeJob = Callable[..., ArchiveJob]


def taken(source: Storage, selection: Selection) -> list[str]:
    """Keys in the order in which they are listed."""
    pieces = selection.pieces(source)
    return [info.key for piece in pieces for info in selection.list(source, *piece)]


def done(job: ArchiveJob) -> set[str]:
    tables = Ledger(job.destination).tables(())
    return {key for table in tables for key in table["source_key"].to_pylist()}


def test_patterns(photos: Path) -> None:
    source = open_storage(str(photos))
    everything = taken(source, Selection())
    assert len(everything) == 12
    some = taken(source, Selection(include=("f0/*", "*1.png"), exclude=("*03*",)))
    assert some == ["f0/p00.png", "f0/p06.png", "f0/p09.png", "f1/p01.png", "f2/p11.png"]


def test_a_list_of_keys(photos: Path, tmp_path: Path, make_job: MakeJob, here: Resources) -> None:
    names = tmp_path / "names"
    names.write_text("f2/p11.png\nf0/p00.png\n\nf0/p00.png\nnot there.png\n")
    job = make_job(photos, tmp_path / "a")
    summary = run_job(job, here, RunOptions(selection=Selection(files_from=str(names))))
    assert (summary.done.ok, summary.done.failed) == (2, 1)
    assert done(job) == {"f0/p00.png", "f2/p11.png", "not there.png"}
    missing = RunOptions(selection=Selection(files_from=str(tmp_path / "no such")))
    with pytest.raises(InputError, match=r"--files-from .*no such"):
        run_job(job, here, missing)
    with pytest.raises(UsageError, match="not both"):
        Selection(files_from="a", inventory="s3://b/c")


def test_a_limit_is_of_work_not_of_what_is_done(
    photos: Path, tmp_path: Path, make_job: MakeJob, here: Resources
) -> None:
    job = make_job(photos, tmp_path / "a")
    counts = [run_job(job, here, RunOptions(limit=5)).done.ok for _ in range(4)]
    assert counts == [5, 5, 2, 0]


@pytest.mark.parametrize("kind", ["CSV", "Parquet"])
def test_an_inventory(kind: str, photos: Path, bucket: str) -> None:
    storage = open_storage(bucket)
    source = open_storage(f"{bucket}/in")
    for path in photos.rglob("*.png"):
        source.put(f"ü {path.name}", path.read_bytes())
    rows = [
        {"Bucket": "b", "Key": f"in/{i.key}", "Size": i.size, "ETag": i.etag, "IsLatest": latest}
        for i in reversed(list(source.list()))
        for latest in (True, False)
    ]
    rows.append({"Bucket": "b", "Key": "other/x", "Size": 1, "ETag": "e", "IsLatest": True})
    if kind == "CSV":
        from urllib.parse import quote_plus

        text = io.StringIO()
        for row in rows:
            values = {
                **row,
                "Key": quote_plus(str(row["Key"])),
                "IsLatest": str(row["IsLatest"]).lower(),
            }
            csv.writer(text, quoting=csv.QUOTE_ALL).writerow(values.values())
        data = gzip.compress(text.getvalue().encode())
    else:
        names = {
            "Bucket": "bucket",
            "Key": "key",
            "Size": "size",
            "ETag": "e_tag",
            "IsLatest": "is_latest",
        }
        sink = io.BytesIO()
        pq.write_table(
            pa.Table.from_pylist([{names[k]: v for k, v in r.items()} for r in rows]), sink
        )
        data = sink.getvalue()
    storage.put("inventory/data", data)
    manifest = {
        "sourceBucket": bucket.removeprefix("s3://"),
        "fileFormat": kind,
        "fileSchema": "Bucket, Key, Size, ETag, IsLatest",
        "files": [{"key": "inventory/data"}],
    }
    storage.put("inventory/manifest.json", json.dumps(manifest).encode())
    selection = Selection(inventory=f"{bucket}/inventory/manifest.json")
    found = list(selection.list(source, "", None))
    listed = list(source.list())
    assert [(i.key, i.size, i.etag) for i in found] == [(i.key, i.size, i.etag) for i in listed]
    manifest["sourceBucket"] = "another"
    storage.put("inventory/manifest.json", json.dumps(manifest).encode())
    with pytest.raises(InputError, match="inventory of the source"):
        list(selection.list(source, "", None))


@pytest.mark.parametrize(
    "names",
    [
        [f"class{n:02d}/{m}.jpg" for n in range(40) for m in range(3)],
        [f"img{n:05d}.jpg" for n in range(100)],
        [f"one/two/{chr(65 + n % 26)}{n}.jpg" for n in range(100)],
        [f"a/{n}" for n in range(30)] + ["a.b", "a", "b", "ü/x", "ü/y", "😀"],
        ["single"],
        [],
    ],
)
def test_a_bucket_is_listed_in_pieces_and_nothing_is_lost(names: list[str], bucket: str) -> None:
    source = open_storage(f"{bucket}/p")
    for name in names:
        source.put(name, b"")
    cuts = source.split(8)
    assert cuts == sorted(set(cuts))
    if len(names) > 50:
        assert len(cuts) >= 3
    assert taken(source, Selection()) == sorted(names)


def test_looking_for_cuts_costs_a_bounded_number_of_requests() -> None:
    asked = []

    def first_key(prefix: str, after: str) -> str | None:
        asked.append(prefix)
        return prefix + chr(ord(after[-1]) + 1 if after and after[-1] < "z" else 97) + "x" * 50

    def folders(prefix: str) -> list[str]:
        asked.append(prefix)
        return []

    partition_module.cut_points(first_key, folders, 8)
    assert len(asked) <= 8 * partition_module.PROBES + 8


def chunk(number: int) -> Chunk:
    return Chunk((Item(ObjectInfo(f"{number:09d}", 10, "tag")),))


def test_a_spool_keeps_order_and_counts() -> None:
    def fill(spool: Spool) -> None:
        for number in range(1000):
            spool.put(chunk(number))

    with Spool(fill) as spool:
        found = []
        while (piece := spool.take(wait=True)) is not None:
            found.append(piece)
        assert found == [chunk(number) for number in range(1000)]
        assert (spool.objects, spool.size, spool.complete) == (1000, 10_000, True)


def test_an_interrupted_run_stops_listing_although_nothing_is_left_to_do(tmp_path: Path) -> None:
    class Endless(LocalStorage):
        def list(
            self, prefix: str = "", *, after: str = "", upto: str | None = None
        ) -> Iterator[ObjectInfo]:
            if prefix:
                return iter(())
            return (ObjectInfo(f"{number:09d}", 1, "tag") for number in itertools.count())

    source = Endless(str(tmp_path))
    pending = Pending(source=source, selection=Selection(), ledger=Ledger(source))
    pending._join = lambda batch, rows: ([], Tally())  # type: ignore[method-assign]
    stopped = threading.Event()

    def fill(spool: Spool) -> None:
        pending.fill(spool)
        stopped.set()

    with Spool(fill):
        while not pending.listed:
            time.sleep(0.01)
    assert stopped.wait(30)


def test_a_spool_raises_what_the_listing_raised() -> None:
    def fill(spool: Spool) -> None:
        spool.put(chunk(1))
        raise StorageError("gone")

    with Spool(fill) as spool, pytest.raises(StorageError, match="gone"):
        list(iter(lambda: spool.take(wait=True), None))
