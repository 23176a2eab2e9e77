"""What botocore raises, turned into the errors of `storage.errors`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from deepsic.errors import StorageError
from pipelines.storage.errors import (
    AccessError,
    MissingBucketError,
    ObjectArchivedError,
    ObjectExistsError,
    ObjectMissingError,
    StorageFullError,
    StorageUnavailableError,
)

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

__all__ = ["ARCHIVED", "error_code", "named_errors"]

_MISSING_BUCKET = "the bucket doesn't exist; make it, or correct the address"
_ACCESS = (
    "access denied; check AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
    "and the rights of that user on the bucket"
)
_FULL = "the store is full; free some space or raise the quota, then run the same command again"

ARCHIVED = (
    "in cold storage; ask for a copy with `aws s3api restore-object`, and when it is there, run "
    "again with --retry-failed"
)

_CODES: dict[str, tuple[type[StorageError], str]] = {
    "NoSuchBucket": (MissingBucketError, _MISSING_BUCKET),
    "NoSuchKey": (ObjectMissingError, "no such object"),
    "404": (ObjectMissingError, "no such object"),
    "NotFound": (ObjectMissingError, "no such object"),
    "InvalidObjectState": (ObjectArchivedError, ARCHIVED),
    "PreconditionFailed": (ObjectExistsError, "exists"),
    "412": (ObjectExistsError, "exists"),
    "ConditionalRequestConflict": (ObjectExistsError, "another writer is at it"),
    "AccessDenied": (AccessError, _ACCESS),
    "403": (AccessError, _ACCESS),
    "Forbidden": (AccessError, _ACCESS),
    "InvalidAccessKeyId": (AccessError, _ACCESS),
    "SignatureDoesNotMatch": (AccessError, _ACCESS),
    "ExpiredToken": (AccessError, "the session has expired; sign in again"),
    "InvalidToken": (AccessError, _ACCESS),
    "QuotaExceeded": (StorageFullError, _FULL),
    "InsufficientStorage": (StorageFullError, _FULL),
    "507": (StorageFullError, _FULL),
}

#: Refusals of the moment, which botocore has tried again.
_PASSING = ("429", "RequestTimeout", "RequestTimeoutException", "Throttling", "TooManyRequests")


def error_code(error: ClientError) -> str:
    """The S3 error code of an answer, or its HTTP status where there is none."""
    found = error.response.get("Error", {}).get("Code")
    return str(found or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))


def _unforeseen(error: ClientError) -> str:
    """What to say of an answer that has no name here: a refusal, or a fault that lasted."""
    code, said = error_code(error), error.response.get("Error", {}).get("Message")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
    if not 400 <= status < 500 or code in _PASSING:
        return f"the store answers {code} after all retries"
    words = f"{code}: {said}" if said else code
    return f"the store refuses the request ({words}); check the options of the address"


@contextlib.contextmanager
def named_errors(what: str) -> Iterator[None]:
    """Raise errors by name for what goes wrong in the block; `what` is the address concerned."""
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        NoCredentialsError,
        PartialCredentialsError,
        ProfileNotFound,
    )
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ClientError as error:
        code = error_code(error)
        kind, advice = _CODES.get(code, (StorageUnavailableError, _unforeseen(error)))
        raise kind(f"{what}: {advice}") from error
    except (NoCredentialsError, PartialCredentialsError, ProfileNotFound) as error:
        raise AccessError(f"{what}: {error}; set AWS_PROFILE or AWS_ACCESS_KEY_ID") from error
    except (BotoCoreError, HTTPError, OSError) as error:
        raise StorageUnavailableError(f"{what}: {error}") from error
