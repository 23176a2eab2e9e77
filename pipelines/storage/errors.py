"""What storage can answer with, by name, whatever stands behind it.

    StorageError (exit 8)
    ├── AccessError               credentials are wrong, or rights are missing
    ├── MissingBucketError        the bucket or folder isn't there
    ├── StorageFullError          disk full, or quota used up
    ├── StorageUnavailableError   no answer, or only errors, after all retries
    ├── ObjectMissingError        no object of that key
    ├── ObjectArchivedError       in cold storage: not readable until it is restored
    └── ObjectExistsError         an object of that key was there before

The first four concern a whole job; the last three one object.
"""

from __future__ import annotations

from deepsic.errors import StorageError

__all__ = [
    "AccessError",
    "MissingBucketError",
    "ObjectArchivedError",
    "ObjectExistsError",
    "ObjectMissingError",
    "StorageFullError",
    "StorageUnavailableError",
]


class AccessError(StorageError):
    """Credentials are wrong or missing, or they don't allow this."""


class MissingBucketError(StorageError):
    """The bucket, or the local folder, doesn't exist."""


class StorageFullError(StorageError):
    """The disk is full, or a quota is used up."""


class StorageUnavailableError(StorageError):
    """The store didn't answer, or answered only with errors, after all retries."""


class ObjectMissingError(StorageError):
    """There is no object of that key (any more)."""


class ObjectArchivedError(StorageError):
    """The object lies in cold storage (Glacier); a copy of it must be asked for first."""


class ObjectExistsError(StorageError):
    """An exclusive put found an object of that key."""
