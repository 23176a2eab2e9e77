"""What do a hundred million images cost before the first is opened? Lists of keys.

    python benchmarks/archive/scaling_keys.py --out scaling_keys.json

Runs the code that the stages run on synthetic keys, one process for each figure, at growing
numbers, and fits time and memory a key. Nothing is extrapolated but the slope.

    prepare    preprocess.py's list of files: all of them in the driver's memory
    first      compress_archive.py's first run: the listing cut into chunks, an empty ledger
    listing    boto3 reading pages of a thousand keys from a server that answers at once

What a finished archive costs (resume, find, report, compaction): `million.py`.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks import options
from pipelines.stage import console
from pipelines.storage import LocalStorage, ObjectInfo

__all__ = ["KINDS", "Synthetic", "slopes"]

ROOT = Path(__file__).parents[2]
SIZES = {
    "prepare": (50_000, 100_000, 200_000),
    "first": (50_000, 100_000, 200_000),
    "listing": (20_000, 40_000, 80_000),
}
TARGETS = {"ImageNet": 1_281_167, "100 M": 10**8, "10 B": 10**10}


def info(number: int) -> ObjectInfo:
    """A key like ImageNet's with size and ETag, in order."""
    tag = hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()
    return ObjectInfo(f"train/n{number // 1300:08d}/n{number:012d}.JPEG", 110_000, tag)


@dataclass(frozen=True)
class Synthetic:
    """A source of so many objects that exist by name alone."""

    url: str
    count: int

    def check(self) -> None:
        """It is always there."""

    def list(
        self, prefix: str = "", *, after: str = "", upto: str | None = None
    ) -> Iterator[ObjectInfo]:
        """All of them, in order."""
        return map(info, range(self.count))

    def split(self, count: int) -> Sequence[str]:
        """One stretch."""
        return []


def prepare(count: int, folder: str) -> int:
    """As `preprocess.py` begins."""
    from unittest.mock import patch

    from pipelines.preparing import files
    from pipelines.preparing.policy import DataSource

    with patch.object(files, "open_storage", lambda url: Synthetic(url, count)):
        return len(files.find_files([DataSource.parse("s3://b/train")]).files)


def first(count: int, folder: str) -> int:
    """As `compress_archive.py` walks a source that it has never seen."""
    from typing import cast

    from pipelines.archive.ledger import Ledger
    from pipelines.archive.listing.pending import Pending
    from pipelines.archive.listing.selection import Selection
    from pipelines.archive.listing.spool import Spool
    from pipelines.storage import Storage

    source = cast(Storage, Synthetic("s3://b", count))
    ledger = Ledger(LocalStorage(folder))
    with Spool(Pending(source=source, selection=Selection(), ledger=ledger).fill) as spool:
        found = 0
        while (chunk := spool.take(wait=True)) is not None:
            found += len(chunk.items)
    return found


def listing(count: int, folder: str) -> int:
    """The client's side of ListObjectsV2."""
    from pipelines.storage import S3Storage
    from pipelines.storage.client import _client_of

    _client_of.cache_clear()  # it knows the warm-up's server
    with _pages(count) as endpoint:
        keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
        os.environ.update(keys | {"AWS_ENDPOINT_URL": endpoint})
        return sum(1 for _ in S3Storage("s3://bucket").list())


class _pages:
    """A server that answers every listing with its page, made before."""

    def __init__(self, count: int) -> None:
        entry = "<Contents><Key>{}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>" \
            "<ETag>&quot;{}&quot;</ETag><Size>110000</Size>" \
            "<StorageClass>STANDARD</StorageClass></Contents>"  # fmt: skip
        body = "".join(entry.format(i.key, i.etag) for i in map(info, range(1000)))
        pages = count // 1000

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                at = int(self.path.partition("continuation-token=")[2].split("&")[0] or 0)
                more = at + 1 < pages
                token = f"<NextContinuationToken>{at + 1}</NextContinuationToken>" if more else ""
                text = (
                    '<?xml version="1.0"?><ListBucketResult><Name>bucket</Name><MaxKeys>1000'
                    f"</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>{token}{body}"
                    "</ListBucketResult>"
                ).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self) -> str:
        # A process of its own, so that its time isn't ours; forked, as it has the pages already.
        fork = multiprocessing.get_context("fork")
        self._process = fork.Process(target=self._server.serve_forever, daemon=True)
        self._process.start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()
        self._server.server_close()


KINDS: dict[str, Callable[[int, str], int]] = {
    "prepare": prepare,
    "first": first,
    "listing": listing,
}


def measured(kind: str, count: int, folder: str) -> dict[str, Any]:
    """One figure, in a process of its own."""
    line = [sys.executable, __file__, "--one", kind, str(count), folder]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    printed = subprocess.run(line, capture_output=True, text=True, check=True, env=environment)
    found: dict[str, Any] = json.loads(printed.stdout)
    return found


def _one(kind: str, count: int, folder: str) -> None:
    work = KINDS[kind]
    work(1000, folder)  # imports, caches
    before = resource.getrusage(resource.RUSAGE_SELF)
    seen = work(count, folder)
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    grown = (after.ru_maxrss - before.ru_maxrss) / 1e3
    print(json.dumps({"kind": kind, "keys": count, "seen": seen, "cpu_seconds": round(cpu, 3),
                      "grown_mb": round(grown, 1)}))  # fmt: skip


def slopes(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Of each kind: microseconds and bytes a key, and what follows for the targets."""
    found: dict[str, dict[str, float]] = {}
    for kind in dict.fromkeys(row["kind"] for row in rows):
        own = [row for row in rows if row["kind"] == kind]
        keys = np.array([row["keys"] for row in own], float)
        seconds = float(np.polyfit(keys, [row["cpu_seconds"] for row in own], 1)[0])
        mb = float(np.polyfit(keys, [row["grown_mb"] for row in own], 1)[0])
        line = {"us_a_key": round(1e6 * seconds, 2), "bytes_a_key": round(max(0.0, mb) * 1e6, 1)}
        for name, target in TARGETS.items():
            line[f"{name}, hours"] = round(target * seconds / 3600, 3)
            line[f"{name}, GB"] = round(target * max(0.0, mb) / 1e3, 3)
        found[kind] = line
    return found


def main(
    only: Annotated[
        list[str] | None,
        typer.Option(help=f"{', '.join(KINDS)}; repeatable.  [default: all]"),
    ] = None,
    one: Annotated[tuple[str, int, str] | None, typer.Option(hidden=True)] = None,
    out: options.Out = None,
) -> None:
    """Measure, print the table."""
    if one:
        _one(*one)
        return
    rows = []
    for kind in options.chosen(only, KINDS):
        for count in SIZES[kind]:
            with tempfile.TemporaryDirectory() as folder:
                began = time.monotonic()
                rows.append(measured(kind, count, folder))
                console.say(f"{rows[-1]} ({time.monotonic() - began:.0f} s)")
    found = slopes(rows)
    head = list(next(iter(found.values())))
    console.table("Keys", ["", *head], [[kind, *line.values()] for kind, line in found.items()])
    options.keep(out, {"results": rows, "slopes": found})


if __name__ == "__main__":
    options.run(main)
