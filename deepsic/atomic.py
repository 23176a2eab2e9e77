"""Files that are whole or not there: what everything here writes with. Standard library only.

with atomic.writing(path) as file:      # `path` changes when the block has ended well
    file.write(data)
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from deepsic.errors import StorageError

__all__ = ["write", "writing"]

_FULL = (errno.ENOSPC, errno.EDQUOT)


def write(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file whole or not at all. Raises as `writing`."""
    with writing(path) as file:
        file.write(data)


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Give a binary file to write, which takes the place of `path` once it is on the disk.

    Until then it is a hidden `.part` file in the same folder, removed if the block fails. Missing
    folders are made, links are followed, the mode of a file that is replaced is kept. A device or
    a FIFO is written as it comes.

    Raises:
        StorageError: the disk is full, or writing isn't allowed there.
    """
    path = Path(path)
    try:
        with _stream(path) if _is_stream(path) else _replacement(path) as file:
            yield file
    except OSError as error:
        advice = "; free some space, then try again" if error.errno in _FULL else ""
        raise StorageError(f"can't write {path}: {error.strerror or error}{advice}") from error


def _is_stream(path: Path) -> bool:
    """Whether something is there that has no content to keep: a device, a FIFO, a socket."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


@contextlib.contextmanager
def _stream(path: Path) -> Iterator[BinaryIO]:
    with path.open("wb") as file:
        yield file


@contextlib.contextmanager
def _replacement(path: Path) -> Iterator[BinaryIO]:
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    target.parent.mkdir(parents=True, exist_ok=True)
    # Not the target's name and more: that may be as long as names can be.
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            part.chmod(stat.S_IMODE(target.stat().st_mode))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Put the renaming itself on the disk, where the system lets folders be synced."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
