"""A local folder as a storage: no name, or a temporary one, fsync, then the final name."""

from __future__ import annotations

import contextlib
import errno
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deepsic.errors import StorageError, UsageError
from pipelines.storage.base import (
    PLAIN,
    Fetched,
    NewObject,
    ObjectAbout,
    ObjectInfo,
    error_of,
)
from pipelines.storage.drafts import Draft, mark_in, sync_folder
from pipelines.storage.errors import (
    AccessError,
    MissingBucketError,
    ObjectExistsError,
    ObjectMissingError,
    StorageFullError,
    StorageUnavailableError,
)
from pipelines.storage.listing import describe, etag_of, walk

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

__all__ = ["LocalStorage"]

#: Files being written live here, on the same file system as what they become.
TEMPORARY = ".deepsic/tmp"
#: A temporary file untouched for this long belongs to nobody, seconds.
STALE_SECONDS = 600
READS = 3


@dataclass(frozen=True)
class LocalStorage:
    """A folder. See `Storage` for what the methods promise."""

    url: str
    max_key_bytes: int = 3_000  # PATH_MAX is 4,096 for the whole path
    write_batch: int = 32

    def __post_init__(self) -> None:
        if "://" in self.url:
            raise UsageError(f"{self.url}: give a local folder or s3://bucket/prefix")
        object.__setattr__(self, "url", os.path.abspath(os.path.expanduser(self.url)))

    @property
    def place(self) -> str:
        """Path with all links followed."""
        return os.path.realpath(self.url)

    def check(self) -> None:
        """See that the folder exists."""
        if os.path.isfile(self.url):
            raise UsageError(f"{self.url} is a file; give the folder that it is in")
        with _named(self.url, MissingBucketError), os.scandir(self.url):
            pass

    def create(self) -> None:
        """Make the folder and its parents."""
        with _named(self.url):
            try:
                os.makedirs(self.url, exist_ok=True)
                writable = os.access(self.url, os.W_OK | os.X_OK)
            except (FileNotFoundError, NotADirectoryError, FileExistsError) as error:
                raise AccessError(
                    f"{self.url} can't be made ({error.strerror}); choose another folder"
                ) from error
        if not writable:
            raise AccessError(f"{self.url} can't be written; check its owner and rights")

    def list(
        self, prefix: str = "", *, after: str = "", upto: str | None = None
    ) -> Iterator[ObjectInfo]:
        """All files below, sorted; what is being written is left out."""
        if prefix and not os.path.isdir(self._path(prefix)):
            return
        with _named(self.url, MissingBucketError):
            for info in walk(self.url, prefix, hidden=frozenset([TEMPORARY])):
                if upto is not None and info.key > upto:
                    return
                if info.key > after:
                    yield info

    def split(self, count: int) -> Sequence[str]:
        """One reader keeps up with a disk: no pieces."""
        return []

    def stat(self, key: str) -> ObjectInfo:
        """Look at one file."""
        path = self._path(key)
        if not os.path.lexists(path):
            raise ObjectMissingError(f"{path} doesn't exist")
        return describe(key, path)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Read a part of a file."""
        path = self._path(key)
        with _named(path), open(path, "rb") as file:
            file.seek(start)
            return file.read(length)

    def get(self, key: str) -> Fetched:
        """Read a file that doesn't change meanwhile (three tries)."""
        path = self._path(key)
        for _ in range(READS):
            with _named(path), open(path, "rb") as file:
                before = os.fstat(file.fileno())
                data = file.read()
                mark = mark_in(file)
                after = os.fstat(file.fileno())
            if etag_of(before) == etag_of(after) and len(data) == after.st_size:
                return Fetched(data, etag_of(after), mark=mark)
        raise ObjectMissingError(f"{path} keeps changing while it is read; run again later")

    def exists(self, key: str) -> bool:
        """Whether there is a file of that name."""
        return os.path.isfile(self._path(key))

    def put(
        self, key: str, data: bytes, *, exclusive: bool = False, about: ObjectAbout = PLAIN
    ) -> None:
        """Write a file that has no name yet, fsync, and give it its name."""
        (error,) = self._put_all([NewObject(key, data, about)], exclusive)
        if error is not None:
            raise error

    def put_new(self, objects: Sequence[NewObject]) -> Sequence[Exception | None]:
        """Write several before the first fsync: the file system's journal is then written once."""
        return self._put_all(objects, exclusive=True)

    def _put_all(self, objects: Sequence[NewObject], exclusive: bool) -> Sequence[Exception | None]:
        errors: list[Exception | None] = [None] * len(objects)
        drafts: dict[int, Draft] = {}
        folders = set()
        with contextlib.ExitStack() as stack:

            def begin(number: int) -> None:
                path = self._path(objects[number].key)
                temporary = os.path.join(self.url, TEMPORARY, f"{uuid.uuid4().hex}.part")
                draft = Draft(path, temporary, objects[number], new=exclusive)
                drafts[number] = stack.enter_context(draft)

            def publish(number: int) -> None:
                drafts[number].publish(exclusive)
                folders.add(os.path.dirname(self._path(objects[number].key)))

            for step in (begin, lambda number: drafts[number].sync(), publish):
                for number, one in enumerate(objects):
                    if errors[number] is None:
                        errors[number] = self._tried(step, number, one.key)
        for folder in folders:
            with _named(folder):
                sync_folder(folder)
        return errors

    def _tried(self, step: Callable[[int], None], number: int, key: str) -> Exception | None:
        def work() -> None:
            with _named(self._path(key)):
                step(number)

        return error_of(work)

    def delete(self, key: str) -> None:
        """Remove a file."""
        path = self._path(key)
        with contextlib.suppress(ObjectMissingError), _named(path):
            os.unlink(path)

    def clear_temporary(self) -> int:
        """Remove temporary files that nobody has touched for ten minutes."""
        folder = os.path.join(self.url, TEMPORARY)
        removed = 0
        with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    if time.time() - entry.stat().st_mtime > STALE_SECONDS:
                        os.unlink(entry.path)
                        removed += 1
        for empty in (folder, os.path.dirname(folder)):
            with contextlib.suppress(OSError):  # it isn't, or was never made
                os.rmdir(empty)
        return removed

    def arrow(self) -> tuple[FileSystem, str]:
        """pyarrow's local filesystem."""
        from pyarrow.fs import LocalFileSystem

        return LocalFileSystem(), self.url

    def _path(self, key: str) -> str:
        parts = key.removesuffix("/").split("/")
        if "\0" in key or any(part in ("", ".", "..") for part in parts):
            raise UsageError(f"{key!r} can't be a file's path below {self.url}")
        return os.path.join(self.url, *parts)


@contextlib.contextmanager
def _named(path: str, missing: type[StorageError] = ObjectMissingError) -> Iterator[None]:
    """Turn what the operating system says into errors by name."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise missing(f"{path} doesn't exist") from error
    except FileExistsError as error:
        raise ObjectExistsError(f"{path} exists") from error
    except PermissionError as error:
        raise AccessError(f"{path}: {error.strerror}; check its owner and rights") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError(
                f"{path}: {error.strerror}; free some space, then run the same command again"
            ) from error
        if error.errno == errno.EROFS:
            raise AccessError(f"{path}: {error.strerror}") from error
        raise StorageUnavailableError(f"{path}: {error.strerror or error}") from error
