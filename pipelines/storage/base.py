"""The interface of a storage, and the put that trusts nobody."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from deepsic.errors import VerificationError
from pipelines.storage.errors import ObjectExistsError, ObjectMissingError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

__all__ = [
    "PLAIN",
    "Fetched",
    "NewObject",
    "ObjectAbout",
    "ObjectInfo",
    "Storage",
    "error_of",
    "mark_of",
    "put_all_verified",
    "put_verified",
    "sha256",
]


class ObjectInfo(NamedTuple):
    """One object of a listing. A tuple: a listing makes millions."""

    key: str
    """Path below the storage's root, "/" between the parts."""
    size: int
    """Bytes."""
    etag: str
    """Changes when the content does; opaque."""
    problem: str = ""
    """Why this entry can't be read at all (a dangling link, a socket); empty when it can."""
    modified: float = 0.0
    """Last change, seconds since 1970."""
    storage_class: str = ""
    """Of S3; empty where the store doesn't say."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """An object's bytes, and the tag of exactly these bytes."""

    data: bytes
    etag: str
    owner: str = ""
    """What `ObjectAbout.owner` was when it was written; empty where the store can't keep it."""
    mark: bytes = b""
    """`mark_of` when it was written, where a store keeps that in place of the owner."""


@dataclass(frozen=True, kw_only=True)
class ObjectAbout:
    """What is stored beside an object's bytes, as far as the store can."""

    content_type: str = "application/octet-stream"
    owner: str = ""
    """Who wrote it, for what: objects of another owner are never replaced."""
    modified: float | None = None
    """Modification time to show, seconds since 1970; None: when it was written."""
    metadata: tuple[tuple[str, str], ...] = ()
    """More names and values, ASCII."""
    tags: tuple[tuple[str, str], ...] = ()
    """Object tags of S3: ten at most."""


PLAIN = ObjectAbout()


class NewObject(NamedTuple):
    """An object to write where there is none."""

    key: str
    data: bytes
    about: ObjectAbout = PLAIN


class Storage(Protocol):
    """What a stage may ask of a folder or a bucket. Instances are small and can be pickled."""

    @property
    def url(self) -> str:
        """Its address for people, without a slash at the end and without options."""

    @property
    def place(self) -> str:
        """Canonical address: equal for two storages that are one, links followed."""

    @property
    def max_key_bytes(self) -> int:
        """The longest key, UTF-8 bytes."""

    @property
    def write_batch(self) -> int:
        """Small objects to give to `put_new` at a time: 1 where each waits for an answer."""

    def check(self) -> None:
        """See that the root exists and may be listed.

        Raises: `MissingBucketError`, `AccessError`, `StorageUnavailableError`.
        """

    def create(self) -> None:
        """Make the root where that is ours to make (a local folder, never a bucket)."""

    def list(
        self, prefix: str = "", *, after: str = "", upto: str | None = None
    ) -> Iterator[ObjectInfo]:
        """All objects whose keys begin with `prefix`, by key in UTF-8 order, holding few of them.

        after, upto: only keys above the one and not above the other.
        """

    def split(self, count: int) -> Sequence[str]:
        """Keys that cut the listing into about `count` pieces, in order; none where that is vain.

        The pieces are (no key, first], (first, second], ... (last, no key).
        """

    def stat(self, key: str) -> ObjectInfo:
        """What a listing would say of one object. Raises: `ObjectMissingError`."""

    def get(self, key: str) -> Fetched:
        """Read an object whole. Raises: `ObjectMissingError` and the job-wide errors."""

    def exists(self, key: str) -> bool:
        """Whether there is an object of that key."""

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Read a part of an object."""

    def put(
        self, key: str, data: bytes, *, exclusive: bool = False, about: ObjectAbout = PLAIN
    ) -> None:
        """Write an object: all of it or nothing becomes visible.

        exclusive: raise `ObjectExistsError` rather than replace, where the store can tell.
        """

    def put_new(self, objects: Sequence[NewObject]) -> Sequence[Exception | None]:
        """`put` of several, `exclusive`, in one go where that is cheaper; the error of each."""

    def delete(self, key: str) -> None:
        """Remove an object; no error when there is none."""

    def clear_temporary(self) -> int:
        """Remove what puts that were killed left behind; return how many."""

    def arrow(self) -> tuple[FileSystem, str]:
        """The same place for pyarrow and Ray: a filesystem and the root's path on it."""


def sha256(data: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


def mark_of(owner: str, data: bytes) -> bytes:
    """Says of bytes who wrote them, in a few bytes: whoever changes them later makes it untrue."""
    return hashlib.sha256(owner.encode() + b"\0" + data).digest()[:16]


def error_of(work: Callable[[], object]) -> Exception | None:
    """What `work` raises."""
    try:
        work()
    except Exception as error:
        return error
    return None


def put_verified(
    storage: Storage,
    key: str,
    data: bytes,
    *,
    about: ObjectAbout = PLAIN,
    replaces: Container[str] | None = None,
) -> None:
    """`put_all_verified` of one object; raises its error."""
    (error,) = put_all_verified(storage, [NewObject(key, data, about)], [replaces])
    if error is not None:
        raise error


def put_all_verified(
    storage: Storage, objects: Sequence[NewObject], replaces: Sequence[Container[str] | None]
) -> list[Exception | None]:
    """Write objects so that afterwards exactly these bytes are at their keys, as read back.

    An equal object that is there already (a run that was killed, a put whose answer was lost and
    that botocore sent again) is left as it is.

    replaces: of each, SHA-256 of contents that may be replaced, beside what `about.owner` wrote
        before; None: whatever is there.
    Returns: the error of each: `ObjectExistsError` when another's object is at the key;
        `VerificationError` when the store gives back other bytes than it was given.
    """
    errors = [*storage.put_new(objects)]
    for number, one in enumerate(objects):
        if errors[number] is None or isinstance(errors[number], ObjectExistsError):
            there = errors[number] is not None
            settle = functools.partial(_settle, storage, one, there, replaces[number])
            errors[number] = error_of(settle)
    return errors


def _settle(storage: Storage, one: NewObject, there: bool, replaces: Container[str] | None) -> None:
    """See that an object is what it should be; `there`: something was at its key before."""
    if there:
        found = _get(storage, one.key)
        if found is not None and replaces is not None:
            _check_owner(storage, one.key, found, one.data, one.about.owner, replaces)
        if found is not None and found.data == one.data:
            return
        storage.put(one.key, one.data, about=one.about)
    found = _get(storage, one.key)
    if found is None or found.data != one.data:
        raise VerificationError(
            f"{storage.url}/{one.key}: read back other bytes than were written; check the store"
        )


def _check_owner(
    storage: Storage, key: str, found: Fetched, data: bytes, owner: str, replaces: Container[str]
) -> None:
    """Raise `ObjectExistsError` unless what is there is ours to leave or to replace."""
    if found.owner and owner:
        if found.owner == owner:
            return
        why = "holds the output of another source"
    elif (
        found.data == data
        or sha256(found.data) in replaces
        or (owner and found.mark == mark_of(owner, found.data))
    ):
        return
    else:
        why = "holds other bytes, which this job didn't write"
    raise ObjectExistsError(
        f"{storage.url}/{key} {why}; move it away, or give --force to replace it"
    )


def _get(storage: Storage, key: str) -> Fetched | None:
    try:
        return storage.get(key)
    except ObjectMissingError:
        return None
