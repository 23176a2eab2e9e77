"""A local folder as a storage: no name, or a temporary one, fsync, then the final name."""

from __future__ import annotations

import contextlib
import errno
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from deepsic.errors import StorageError, UsageError
from pipelines.storage.base import PLAIN, Fetched, ObjectAbout, ObjectInfo, mark_of
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
#: The extended attribute of a file that says who wrote it.
MARK = "user.deepsic"
#: What is said where there is no such attribute.
NO_ATTRIBUTE = (errno.ENODATA, errno.ENOTSUP, errno.EPERM)
#: What file systems say that have no links.
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS)
#: ... no files without a name; the last two without /proc.
NO_UNNAMED = (*NO_LINKS, errno.EISDIR, errno.EINVAL, errno.ENOENT, errno.EXDEV)


@dataclass(frozen=True)
class LocalStorage:
    """A folder. See `Storage` for what the methods promise."""

    url: str
    max_key_bytes: int = 3_000  # PATH_MAX is 4,096 for the whole path

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
                mark = _mark(file)
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
        """Write a file that has no name yet, fsync, and give it its name.

        Not by `deepsic.atomic`: a name that is taken is refused, times are given, links aren't
        followed, and what a killed writer leaves lies in one folder, where it is found.
        """
        path = self._path(key)
        with _named(path):
            if not (exclusive and _put_unnamed(path, data, about)):
                self._put_renamed(path, data, about, exclusive)
            _sync_folder(os.path.dirname(path))

    def _put_renamed(self, path: str, data: bytes, about: ObjectAbout, exclusive: bool) -> None:
        temporary = os.path.join(self.url, TEMPORARY, f"{uuid.uuid4().hex}.part")
        try:
            with _opened(temporary, path) as file:
                _write(file, data, about)
            _publish(temporary, path, exclusive)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)

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


def _put_unnamed(path: str, data: bytes, about: ObjectAbout) -> bool:
    """Write a new file that has no name before it is whole; False where the system can't.

    Half the work of a temporary name, and who is killed leaves nothing. Linux, most file systems.
    """
    if not hasattr(os, "O_TMPFILE"):
        return False
    folder = os.path.dirname(path)
    try:
        if not os.path.isdir(folder):
            os.makedirs(folder, exist_ok=True)
        descriptor = os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o666)
    except OSError as error:
        if error.errno in NO_UNNAMED:
            return False
        raise
    with open(descriptor, "wb") as file:
        _write(file, data, about)
        try:  # with a descriptor, Python asks for the call that follows the link in /proc
            os.link(
                f"/proc/self/fd/{descriptor}", path, src_dir_fd=descriptor, follow_symlinks=True
            )
        except OSError as error:
            if error.errno in NO_UNNAMED:
                return False
            raise
    return True


def _write(file: BinaryIO, data: bytes, about: ObjectAbout) -> None:
    file.write(data)
    file.flush()
    if about.owner and hasattr(os, "setxattr"):
        with _without_attributes():
            os.setxattr(file.fileno(), MARK, mark_of(about.owner, data))
    if about.modified is not None:
        os.utime(file.fileno(), (about.modified, about.modified))
    os.fsync(file.fileno())


def _mark(file: BinaryIO) -> bytes:
    """The mark of who wrote a file; empty where there is none."""
    if hasattr(os, "getxattr"):
        with _without_attributes():
            return os.getxattr(file.fileno(), MARK)
    return b""


@contextlib.contextmanager
def _without_attributes() -> Iterator[None]:
    """Do without extended attributes where the file system has none, or the file not this one."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ATTRIBUTE:
            raise


def _opened(temporary: str, path: str) -> BinaryIO:
    """Open the temporary file, and make its folder and that of `path` where there are none."""
    for _ in range(READS):  # another writer may remove a folder that is empty
        try:
            if os.path.isdir(os.path.dirname(path)):
                return open(temporary, "xb")
        except FileNotFoundError:
            pass
        os.makedirs(os.path.dirname(temporary), exist_ok=True)
        os.makedirs(os.path.dirname(path), exist_ok=True)
    return open(temporary, "xb")


def _publish(temporary: str, path: str, exclusive: bool) -> None:
    if exclusive:
        try:
            os.link(temporary, path)  # unlike rename, fails when the name is taken
            return
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
        if os.path.exists(path):  # a file system without links: the best that it can do
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
    os.replace(temporary, path)


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
