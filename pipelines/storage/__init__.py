"""A folder or an S3 bucket behind one small interface: list, get, put, delete.

    storage = open_storage("s3://bucket/photos")      # or a local folder
    for item in storage.list():                       # sorted by key, streaming
        data = storage.get(item.key).data
    put_verified(storage, "a.jpg.sic", data)          # checksum, no overwrite, read back

Credentials, region, endpoint, certificates and proxy of S3 come by boto3's usual chain
(AWS_PROFILE, AWS_ENDPOINT_URL, AWS_CA_BUNDLE, HTTPS_PROXY, instance roles, ...), or stand in the
address (`options.S3Options`); retries by botocore's own modes (AWS_RETRY_MODE, AWS_MAX_ATTEMPTS).
All that is asked of a bucket goes by one client: Arrow and Ray as well.
"""

from __future__ import annotations

from pipelines.storage.base import (
    PLAIN,
    Fetched,
    NewObject,
    ObjectAbout,
    ObjectInfo,
    Storage,
    put_all_verified,
    put_verified,
    sha256,
)
from pipelines.storage.errors import (
    AccessError,
    MissingBucketError,
    ObjectArchivedError,
    ObjectExistsError,
    ObjectMissingError,
    StorageFullError,
    StorageUnavailableError,
)
from pipelines.storage.listing import selected
from pipelines.storage.local import LocalStorage
from pipelines.storage.s3 import S3Storage

__all__ = [
    "PLAIN",
    "AccessError",
    "Fetched",
    "LocalStorage",
    "MissingBucketError",
    "NewObject",
    "ObjectAbout",
    "ObjectArchivedError",
    "ObjectExistsError",
    "ObjectInfo",
    "ObjectMissingError",
    "S3Storage",
    "Storage",
    "StorageFullError",
    "StorageUnavailableError",
    "open_storage",
    "put_all_verified",
    "put_verified",
    "selected",
    "sha256",
]


def open_storage(url: str) -> Storage:
    """The storage that `url` names: `s3://bucket/prefix`, else a local folder.

    Nothing is read or made yet; `Storage.check` does that.
    Raises: `UsageError` for an S3 address without a bucket, or another scheme.
    """
    return S3Storage(url) if url.startswith("s3://") else LocalStorage(url)
