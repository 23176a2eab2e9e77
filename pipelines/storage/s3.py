"""An S3 bucket (or a prefix of one) as a storage, on any S3-compatible server."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from deepsic.errors import UsageError
from pipelines.storage.base import (
    PLAIN,
    Fetched,
    NewObject,
    ObjectAbout,
    ObjectInfo,
    error_of,
)
from pipelines.storage.client import OBJECTS, s3_client
from pipelines.storage.errors import ObjectExistsError
from pipelines.storage.options import S3Options, parse_options
from pipelines.storage.partition import cut_points
from pipelines.storage.s3_errors import error_code, named_errors

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

__all__ = ["S3Storage"]

BODY_READS = 5
PAGE_KEYS = 1000
OWNER = "deepsic-owner"


@dataclass(frozen=True)
class S3Storage:
    """`s3://bucket/prefix`. See `Storage` for what the methods promise, `S3Options` for options."""

    url: str
    options: S3Options = field(default_factory=S3Options)

    def __post_init__(self) -> None:
        address, _, query = self.url.removeprefix("s3://").partition("?")
        object.__setattr__(self, "url", "s3://" + address.rstrip("/"))
        if query:
            object.__setattr__(self, "options", parse_options(query, self.url))
        if not self.bucket:
            raise UsageError(f"{self.url!r}: give s3://bucket or s3://bucket/prefix")

    @property
    def place(self) -> str:
        """Address and, where one was chosen, the server that it is on."""
        return f"{self.url}?{self.options.endpoint_url or ''}"

    @property
    def write_batch(self) -> int:
        """Each waits for an answer: who has several puts them in several threads."""
        return 1

    @property
    def bucket(self) -> str:
        """Name of the bucket."""
        return self.url.removeprefix("s3://").partition("/")[0]

    @property
    def prefix(self) -> str:
        """What all keys begin with: empty, or ends in a slash."""
        rest = self.url.removeprefix("s3://").partition("/")[2]
        return f"{rest}/" if rest else ""

    @property
    def max_key_bytes(self) -> int:
        """S3 allows 1,024 bytes, the prefix included."""
        return 1024 - len(self.prefix.encode())

    def check(self) -> None:
        """See that the bucket exists and may be listed."""
        with named_errors(self.url):
            self._call("list_objects_v2", Prefix=self.prefix, MaxKeys=1)

    def create(self) -> None:
        """Buckets are made by their owner: only look."""
        self.check()

    def list(
        self, prefix: str = "", *, after: str = "", upto: str | None = None
    ) -> Iterator[ObjectInfo]:
        """All objects, page by page; S3 lists in UTF-8 order."""
        root = self.prefix
        start = root + prefix
        request: dict[str, Any] = {"Prefix": start, "MaxKeys": PAGE_KEYS}
        if after:
            request["StartAfter"] = root + after
        while True:
            with named_errors(self.url):
                page = self._call("list_objects_v2", **request)
            for info in page[OBJECTS]:
                key = info.key.removeprefix(root)
                if upto is not None and key > upto:
                    return
                if key:
                    yield info._replace(key=key) if root else info
            if not page.get("IsTruncated"):
                return
            request["ContinuationToken"] = page["NextContinuationToken"]

    def split(self, count: int) -> Sequence[str]:
        """Cut where folders begin, else where keys differ; a few requests a piece."""
        with named_errors(self.url):
            return cut_points(self._first_keys, self._folders, count)

    def _first_keys(self, prefix: str, after: str) -> str | None:
        """The first key of a prefix that lies above `after`."""
        where = {"StartAfter": self.prefix + after} if after else {}
        page = self._call("list_objects_v2", Prefix=self.prefix + prefix, MaxKeys=1, **where)
        found = [info.key.removeprefix(self.prefix) for info in page[OBJECTS]]
        return found[0] if found else None

    def _folders(self, prefix: str) -> Sequence[str]:
        """The folders of one page, ending in a slash."""
        page = self._call("list_objects_v2", Prefix=self.prefix + prefix, Delimiter="/")
        names = [entry["Prefix"] for entry in page.get("CommonPrefixes", ())]
        return [name.removeprefix(self.prefix) for name in names]

    def stat(self, key: str) -> ObjectInfo:
        """Ask for an object's head."""
        with named_errors(f"{self.url}/{key}"):
            head = self._call("head_object", Key=self.prefix + key)
        return ObjectInfo(
            key,
            head["ContentLength"],
            head["ETag"].strip('"'),
            modified=head["LastModified"].timestamp(),
            storage_class=head.get("StorageClass", ""),
        )

    def get(self, key: str) -> Fetched:
        """Read an object."""
        return self._get(key)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Read a part of an object."""
        return self._get(key, Range=f"bytes={start}-{start + length - 1}").data

    def _get(self, key: str, **wanted: str) -> Fetched:
        """Read an object; a body that breaks off is asked for again."""
        from botocore.exceptions import (
            IncompleteReadError,
            ReadTimeoutError,
            ResponseStreamingError,
        )
        from tenacity import (
            retry,
            retry_if_exception_type,
            stop_after_attempt,
            wait_random_exponential,
        )

        broken = (IncompleteReadError, ReadTimeoutError, ResponseStreamingError, ConnectionError)

        # botocore retries requests, never a body that it has begun to hand out.
        @retry(
            retry=retry_if_exception_type(broken),
            stop=stop_after_attempt(BODY_READS),
            wait=wait_random_exponential(multiplier=0.2, max=10),
            reraise=True,
        )
        def read() -> Fetched:
            answer = self._call("get_object", Key=self.prefix + key, **wanted)
            with contextlib.closing(answer["Body"]) as body:
                owner = answer.get("Metadata", {}).get(OWNER, "")
                return Fetched(body.read(), answer["ETag"].strip('"'), owner)

        with named_errors(f"{self.url}/{key}"):
            return read()

    def exists(self, key: str) -> bool:
        """Ask for an object's head."""
        with named_errors(f"{self.url}/{key}"):
            return self._exists(self.prefix + key)

    def put(
        self, key: str, data: bytes, *, exclusive: bool = False, about: ObjectAbout = PLAIN
    ) -> None:
        """Write an object with its SHA-256 for the server to check."""
        request: dict[str, Any] = {"Key": self.prefix + key, "Body": data}
        digest = hashlib.sha256(data).digest()
        request["ChecksumSHA256"] = base64.b64encode(digest).decode()
        request |= self._described(about)
        with named_errors(f"{self.url}/{key}"):
            if exclusive:
                self._put_new(request)
            else:
                self._call("put_object", **request)

    def put_new(self, objects: Sequence[NewObject]) -> Sequence[Exception | None]:
        """One after the other: who has several gives them to several threads."""
        put = functools.partial(self.put, exclusive=True)
        return [
            error_of(functools.partial(put, one.key, one.data, about=one.about)) for one in objects
        ]

    def _described(self, about: ObjectAbout) -> dict[str, Any]:
        """The parameters of a put that say what is beside the bytes, and how they are kept."""
        options = self.options
        metadata = dict(about.metadata)
        if about.owner:
            metadata[OWNER] = about.owner
        if about.modified is not None:
            metadata["mtime"] = f"{about.modified:.6f}"  # as rclone and s3fs write it
        found: dict[str, Any] = {"ContentType": about.content_type, "Metadata": metadata}
        if about.tags:
            found["Tagging"] = urlencode(about.tags, quote_via=quote)  # Ceph keeps a "+"
        if options.storage_class:
            found["StorageClass"] = options.storage_class
        if options.sse_kms_key_id:
            found["ServerSideEncryption"] = "aws:kms"
            if options.sse_kms_key_id != "aws":
                found["SSEKMSKeyId"] = options.sse_kms_key_id
        return found

    def _put_new(self, request: dict[str, Any]) -> None:
        from botocore.exceptions import ClientError

        try:
            self._call("put_object", **request, IfNoneMatch="*")
        except ClientError as error:
            if error_code(error) != "NotImplemented":
                raise
            # A server without conditional writes: look, then write; what is there gets compared.
            if self._exists(request["Key"]):
                raise ObjectExistsError(f"s3://{self.bucket}/{request['Key']} exists") from error
            self._call("put_object", **request)

    def _exists(self, full_key: str) -> bool:
        from botocore.exceptions import ClientError

        try:
            self._call("head_object", Key=full_key)
        except ClientError as error:
            if error_code(error) in ("404", "NoSuchKey", "NotFound"):
                return False
            raise
        return True

    def _call(self, operation: str, **request: Any) -> Any:
        """One request of the client; whatever is asked, of the same one."""
        if self.options.request_payer:
            request["RequestPayer"] = "requester"
        return getattr(s3_client(self.options), operation)(Bucket=self.bucket, **request)

    def delete(self, key: str) -> None:
        """Remove an object."""
        with named_errors(f"{self.url}/{key}"):
            self._call("delete_object", Key=self.prefix + key)

    def clear_temporary(self) -> int:
        """S3 shows no half-written objects."""
        return 0

    def arrow(self) -> tuple[FileSystem, str]:
        """A filesystem over this storage, so that Arrow and Ray ask by the same client."""
        from pipelines.storage.arrow import filesystem

        return filesystem(self), ""
