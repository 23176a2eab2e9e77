"""Files of a folder that are being written: they have no name, or a temporary one, until whole.

Not by `deepsic.atomic`: a name that is taken is refused, times and a mark are given, links aren't
followed, several are made to last together, and what a killed writer leaves lies in one folder.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import BinaryIO

from pipelines.storage.base import NewObject, mark_of

__all__ = ["Draft", "mark_in", "sync_folder"]

OPENINGS = 3
#: The extended attribute of a file that says who wrote it.
MARK = "user.deepsic"
#: What is said where there is no such attribute.
NO_ATTRIBUTE = (errno.ENODATA, errno.ENOTSUP, errno.EPERM)
#: What file systems say that have no links.
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS)
#: ... no files without a name; the last two without /proc.
NO_UNNAMED = (*NO_LINKS, errno.EISDIR, errno.EINVAL, errno.ENOENT, errno.EXDEV)


class Draft:
    """A file that becomes `path`: written when made, then `sync`, then `publish`.

    temporary: its name meanwhile, where it needs one, on the same file system.
    new: whether it is to be without a name, half the work; never in place of another file.
    A context: what isn't published at its end is gone.
    """

    def __init__(self, path: str, temporary: str, content: NewObject, *, new: bool) -> None:
        self._path, self._temporary, self._content = path, temporary, content
        self._file = _unnamed(os.path.dirname(path)) if new else None
        self._named = self._file is None
        self._write()

    def sync(self) -> None:
        """Make the content last."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def publish(self, exclusive: bool) -> None:
        """Give it its name. Raises: `FileExistsError` for one that is taken, if `exclusive`."""
        if not self._named:
            if self._file is not None and _linked(self._file.fileno(), self._path):
                return
            self.close()
            self._named = True
            self._write()
            self.sync()
        _rename(self._temporary, self._path, exclusive)

    def close(self) -> None:
        """Let go of the file; without a name it is gone."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def __enter__(self) -> Draft:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        if self._named:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._temporary)

    def _write(self) -> None:
        if self._file is None:
            self._file = _opened(self._temporary, self._path)
        try:
            self._file.write(self._content.data)
            self._file.flush()
            about = self._content.about
            if about.owner and hasattr(os, "setxattr"):
                with _without_attributes():
                    os.setxattr(self._file.fileno(), MARK, mark_of(about.owner, self._content.data))
            if about.modified is not None:
                os.utime(self._file.fileno(), (about.modified, about.modified))
        except BaseException:
            self.__exit__()
            raise


def mark_in(file: BinaryIO) -> bytes:
    """The mark of who wrote a file; empty where there is none."""
    if hasattr(os, "getxattr"):
        with _without_attributes():
            return os.getxattr(file.fileno(), MARK)
    return b""


def sync_folder(folder: str) -> None:
    """Make the names in a folder last."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _without_attributes() -> Iterator[None]:
    """Do without extended attributes where the file system has none, or the file not this one."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ATTRIBUTE:
            raise


def _unnamed(folder: str) -> BinaryIO | None:
    """A new file in a folder, without a name: Linux, most file systems; None elsewhere."""
    if not hasattr(os, "O_TMPFILE"):
        return None
    try:
        if not os.path.isdir(folder):
            os.makedirs(folder, exist_ok=True)
        return open(os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o666), "wb")
    except OSError as error:
        if error.errno in NO_UNNAMED:
            return None
        raise


def _linked(descriptor: int, path: str) -> bool:
    """Name a file that has no name; False where the system can't."""
    try:  # with a descriptor, Python asks for the call that follows the link in /proc
        os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=descriptor, follow_symlinks=True)
    except OSError as error:
        if error.errno in NO_UNNAMED:
            return False
        raise
    return True


def _opened(temporary: str, path: str) -> BinaryIO:
    """Open the temporary file, and make its folder and that of `path` where there are none."""
    for _ in range(OPENINGS):  # another writer may remove a folder that is empty
        try:
            if os.path.isdir(os.path.dirname(path)):
                return open(temporary, "xb")
        except FileNotFoundError:
            pass
        os.makedirs(os.path.dirname(temporary), exist_ok=True)
        os.makedirs(os.path.dirname(path), exist_ok=True)
    return open(temporary, "xb")


def _rename(temporary: str, path: str, exclusive: bool) -> None:
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
