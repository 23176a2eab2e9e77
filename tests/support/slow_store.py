"""An S3 server that answers every request after a fixed time and costs little besides.

    with slow_store(folder, keys, seconds=0.02) as endpoint:
        ...    # s3://archive/... are the files of `folder`; s3://source/ lists `keys`, in order

For measuring clients: what they wait for is known, and the store is not what is measured.
"""

from __future__ import annotations

import bisect
import contextlib
import email.utils
import hashlib
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote_plus, unquote, urlsplit

from tests.support.ports import LOOPBACK

__all__ = ["ETAG", "SIZE", "slow_store"]

SIZE = 110_000
#: Of every object of the source.
ETAG = hashlib.md5(b"", usedforsecurity=False).hexdigest()
LAST = "\U0010ffff"
_OBJECT = (
    "<Contents><Key>{}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
    "<ETag>&quot;{}&quot;</ETag><Size>{}</Size><StorageClass>STANDARD</StorageClass></Contents>"
)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    folder: Path
    keys: Sequence[str]
    seconds: float

    def do_GET(self) -> None:
        time.sleep(self.seconds)
        parts = urlsplit(self.path)
        bucket, _, key = unquote(parts.path)[1:].partition("/")
        if key:
            self._object(self.folder / key)
        else:
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            self._page(self._names(bucket, query.get("prefix", "")), bucket, query)

    def _names(self, bucket: str, prefix: str) -> Sequence[str]:
        if bucket == "source":
            return self.keys
        # Only the folder that the prefix names: a large archive's others would take their time.
        root = f"{self.folder}/"
        found = os.walk(root + prefix.rpartition("/")[0])
        return sorted(
            f"{folder}/{name}"[len(root) :].lstrip("/")
            for folder, _, names in found
            for name in names
        )

    def _page(self, names: Sequence[str], bucket: str, query: dict[str, str]) -> None:
        prefix, most = query.get("prefix", ""), int(query.get("max-keys", 1000))
        after = query.get("continuation-token") or query.get("start-after", "")
        at = max(bisect.bisect_left(names, prefix), bisect.bisect_right(names, after))
        entries: list[str] = []
        folders: list[str] = []
        last = ""
        while (
            at < len(names) and names[at].startswith(prefix) and len(entries) + len(folders) < most
        ):
            last = names[at]
            head, slash, _ = last[len(prefix) :].partition("/")
            if query.get("delimiter") and slash:
                last = prefix + head + "/" + LAST
                folders.append(f"<CommonPrefixes><Prefix>{prefix}{head}/</Prefix></CommonPrefixes>")
                at = bisect.bisect_right(names, last)
            else:
                entries.append(self._entry(bucket, last))
                at += 1
        more = at < len(names) and names[at].startswith(prefix)
        token = f"<NextContinuationToken>{last}</NextContinuationToken>" if more else ""
        body = "".join(entries + folders)
        self._send(
            f"<?xml version='1.0'?><ListBucketResult><Name>{bucket}</Name><EncodingType>url"
            f"</EncodingType><IsTruncated>{str(more).lower()}</IsTruncated>{token}{body}"
            "</ListBucketResult>".encode()
        )

    def _entry(self, bucket: str, key: str) -> str:
        if bucket == "source":
            return _OBJECT.format(quote_plus(key, "/"), ETAG, SIZE)
        status = (self.folder / key).stat()
        return _OBJECT.format(quote_plus(key, "/"), status.st_mtime_ns, status.st_size)

    def _object(self, path: Path) -> None:
        if not path.is_file():
            self._send(b"<Error><Code>NoSuchKey</Code></Error>", 404)
            return
        wanted = self.headers.get("Range", "").removeprefix("bytes=")
        with path.open("rb") as file:
            if not wanted:
                self._send(file.read())
                return
            first, _, last = wanted.partition("-")
            file.seek(int(first))
            self._send(file.read(int(last) - int(first) + 1), 206)

    def do_HEAD(self) -> None:
        time.sleep(self.seconds)
        path = self.folder / unquote(urlsplit(self.path).path)[1:].partition("/")[2]
        there = path.is_file()
        self._start(200 if there else 404, path.stat().st_size if there else 0)

    def do_PUT(self) -> None:
        time.sleep(self.seconds)
        data = self.rfile.read(int(self.headers["Content-Length"]))
        path = self.folder / unquote(urlsplit(self.path).path)[1:].partition("/")[2]
        if self.headers.get("If-None-Match") and path.exists():
            self._send(b"<Error><Code>PreconditionFailed</Code></Error>", 412)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self._send(b"")

    def do_DELETE(self) -> None:
        time.sleep(self.seconds)
        (self.folder / unquote(urlsplit(self.path).path)[1:].partition("/")[2]).unlink()
        self._send(b"", 204)

    def _start(self, status: int, length: int) -> None:
        self.send_response_only(status)
        self.send_header("ETag", f'"{ETAG}"')
        self.send_header("Last-Modified", email.utils.formatdate(usegmt=True))
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _send(self, data: bytes, status: int = 200) -> None:
        self._start(status, len(data))
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


@contextlib.contextmanager
def slow_store(folder: Path, keys: Sequence[str], seconds: float = 0.02) -> Iterator[str]:
    """The server's address; it is a process of its own, so that its time isn't the caller's."""
    handler = type("Handler", (_Handler,), {"folder": folder, "keys": keys, "seconds": seconds})
    server = _Server((LOOPBACK, 0), handler)
    # Forked, as it has the keys already.
    process = multiprocessing.get_context("fork").Process(target=server.serve_forever, daemon=True)
    process.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_port}"
    finally:
        process.kill()
        process.join()
        server.server_close()
