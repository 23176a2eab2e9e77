"""The interface of a storage, and the put that trusts nobody."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from deepsic.errors import VerificationError
from pipelines.storage.errors import ObjectExistsError, ObjectMissingError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

__all__ = ["Fetched", "ObjectInfo", "Storage", "put_verified", "sha256"]


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object of a listing."""

    key: str
    """Path below the storage's root, "/" between the parts."""
    size: int
    """Bytes."""
    etag: str
    """Changes when the content does; opaque."""
    problem: str = ""
    """Why this entry can't be read at all (a dangling link, a socket); empty when it can."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """An object's bytes, and the tag of exactly these bytes."""

    data: bytes
    etag: str


class Storage(Protocol):
    """What a stage may ask of a folder or a bucket. Instances are small and can be pickled."""

    @property
    def url(self) -> str:
        """Address that opens the same storage again, without a slash at the end."""

    @property
    def max_key_bytes(self) -> int:
        """The longest key, UTF-8 bytes."""

    def check(self) -> None:
        """See that the root exists and may be listed.

        Raises: `MissingBucketError`, `AccessError`, `StorageUnavailableError`.
        """

    def create(self) -> None:
        """Make the root where that is ours to make (a local folder, never a bucket)."""

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """All objects under a folder, by key in UTF-8 order, without holding them all."""

    def get(self, key: str) -> Fetched:
        """Read an object whole. Raises: `ObjectMissingError` and the job-wide errors."""

    def exists(self, key: str) -> bool:
        """Whether there is an object of that key."""

    def put(self, key: str, data: bytes, *, exclusive: bool = False) -> None:
        """Write an object: all of it or nothing becomes visible.

        exclusive: raise `ObjectExistsError` rather than replace, where the store can tell.
        """

    def delete(self, key: str) -> None:
        """Remove an object; no error when there is none."""

    def clear_temporary(self) -> int:
        """Remove what puts that were killed left behind; return how many."""

    def arrow(self) -> tuple[FileSystem, str]:
        """The same place for pyarrow: a filesystem and the root's path on it."""


def sha256(data: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def put_verified(storage: Storage, key: str, data: bytes) -> None:
    """Write an object so that afterwards exactly these bytes are at `key`, as read back.

    An equal object that is there already (a run that was killed, a put whose answer was lost and
    that botocore sent again) is left as it is; a different one is replaced.

    Raises: `VerificationError` when the store gives back other bytes than it was given.
    """
    try:
        storage.put(key, data, exclusive=True)
    except ObjectExistsError:
        if _holds(storage, key, data):
            return
        storage.put(key, data)
    if not _holds(storage, key, data):
        raise VerificationError(
            f"{storage.url}/{key}: read back other bytes than were written; check the store"
        )


def _holds(storage: Storage, key: str, data: bytes) -> bool:
    try:
        return storage.get(key).data == data
    except ObjectMissingError:
        return False
