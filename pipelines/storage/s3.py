"""An S3 bucket (or a prefix of one) as a storage, on any S3-compatible server."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deepsic.errors import UsageError
from pipelines.storage.base import Fetched, ObjectInfo
from pipelines.storage.errors import ObjectExistsError, StorageUnavailableError
from pipelines.storage.s3_errors import error_code, named_errors

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

__all__ = ["S3Storage"]

ATTEMPTS = 10
CONNECT_SECONDS, READ_SECONDS = 10, 60
CONNECTIONS = 64
BODY_READS = 5
PAGE_KEYS = 1000


@dataclass(frozen=True)
class S3Storage:
    """`s3://bucket/prefix`. See `Storage` for what the methods promise."""

    url: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", "s3://" + self.url.removeprefix("s3://").rstrip("/"))
        if not self.bucket:
            raise UsageError(f"{self.url!r}: give s3://bucket or s3://bucket/prefix")

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
            _client().list_objects_v2(Bucket=self.bucket, Prefix=self.prefix, MaxKeys=1)

    def create(self) -> None:
        """Buckets are made by their owner: only look."""
        self.check()

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """All objects, page by page; S3 lists in UTF-8 order."""
        pages = _client().get_paginator("list_objects_v2")
        start = self.prefix + prefix
        with named_errors(self.url):
            for page in pages.paginate(
                Bucket=self.bucket, Prefix=start, PaginationConfig={"PageSize": PAGE_KEYS}
            ):
                for entry in page.get("Contents", ()):
                    key = entry["Key"].removeprefix(self.prefix)
                    if key:
                        yield ObjectInfo(key, entry["Size"], entry["ETag"].strip('"'))

    def get(self, key: str) -> Fetched:
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
            answer = _client().get_object(Bucket=self.bucket, Key=self.prefix + key)
            with contextlib.closing(answer["Body"]) as body:
                return Fetched(body.read(), answer["ETag"].strip('"'))

        with named_errors(f"{self.url}/{key}"):
            return read()

    def exists(self, key: str) -> bool:
        """Ask for an object's head."""
        with named_errors(f"{self.url}/{key}"):
            return self._exists(self.prefix + key)

    def put(self, key: str, data: bytes, *, exclusive: bool = False) -> None:
        """Write an object with its SHA-256 for the server to check."""
        request: dict[str, Any] = {"Bucket": self.bucket, "Key": self.prefix + key, "Body": data}
        digest = hashlib.sha256(data).digest()
        request["ChecksumSHA256"] = base64.b64encode(digest).decode()
        with named_errors(f"{self.url}/{key}"):
            if exclusive:
                self._put_new(request)
            else:
                _client().put_object(**request)

    def _put_new(self, request: dict[str, Any]) -> None:
        from botocore.exceptions import ClientError

        try:
            _client().put_object(**request, IfNoneMatch="*")
        except ClientError as error:
            if error_code(error) != "NotImplemented":
                raise
            # A server without conditional writes: look, then write; what is there gets compared.
            if self._exists(request["Key"]):
                raise ObjectExistsError(f"s3://{self.bucket}/{request['Key']} exists") from error
            _client().put_object(**request)

    def _exists(self, full_key: str) -> bool:
        from botocore.exceptions import ClientError

        try:
            _client().head_object(Bucket=self.bucket, Key=full_key)
        except ClientError as error:
            if error_code(error) in ("404", "NoSuchKey", "NotFound"):
                return False
            raise
        return True

    def delete(self, key: str) -> None:
        """Remove an object."""
        with named_errors(f"{self.url}/{key}"):
            _client().delete_object(Bucket=self.bucket, Key=self.prefix + key)

    def clear_temporary(self) -> int:
        """S3 shows no half-written objects."""
        return 0

    def arrow(self) -> tuple[FileSystem, str]:
        """pyarrow's S3 filesystem with the credentials, region and endpoint that boto3 found."""
        from botocore.credentials import RefreshableCredentials
        from pyarrow.fs import S3FileSystem

        client = _client()
        found = client._request_signer._credentials
        if found is None:
            raise StorageUnavailableError(f"{self.url}: no credentials found")
        keys: dict[str, str | None] = {}
        # What a machine's role gives ends after hours: there Arrow must ask again by itself.
        if not isinstance(found, RefreshableCredentials):
            frozen = found.get_frozen_credentials()
            keys = {
                "access_key": frozen.access_key,
                "secret_key": frozen.secret_key,
                "session_token": frozen.token,
            }
        filesystem = S3FileSystem(
            **keys, region=client.meta.region_name, endpoint_override=client.meta.endpoint_url
        )
        return filesystem, f"{self.bucket}/{self.prefix}".rstrip("/")


@functools.lru_cache(maxsize=1)
def _client_of(process: int) -> Any:
    import boto3
    from botocore.config import Config

    session = boto3.Session()
    core = session._session  # boto3 has no public way to ask whether the user chose
    retries: dict[str, Any] = {}
    if os.environ.get("AWS_RETRY_MODE") is None and "retry_mode" not in core.get_scoped_config():
        retries["mode"] = "standard"
    if core.get_config_variable("max_attempts") is None:
        retries["total_max_attempts"] = ATTEMPTS
    return session.client(
        "s3",
        region_name=session.region_name or "us-east-1",
        config=Config(
            retries=retries or None,
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            max_pool_connections=CONNECTIONS,
            user_agent_extra="deepsic",
        ),
    )


def _client() -> Any:
    """One client a process: clients may be shared by threads, not across a fork."""
    return _client_of(os.getpid())
