"""Chunks that wait for a worker, on disk: the listing runs ahead, memory stays as it is."""

from __future__ import annotations

import pickle
import struct
import tempfile
import threading
import zlib
from collections.abc import Callable

from deepsic.errors import StorageError
from pipelines.archive.listing.chunks import Chunk

__all__ = ["Spool"]

_LENGTH = struct.Struct("<I")


class Spool:
    """A queue between threads that list and the one that hands out work; some 30 bytes an object.

    with Spool(fill) as spool: `fill(spool)` runs in a thread and calls `put`; what it raises,
    `take` raises.
    """

    def __init__(self, fill: Callable[[Spool], None]) -> None:
        self._fill = fill
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 closed at the block's end
        self._changed = threading.Condition()
        self._read = self._written = 0
        self._error: BaseException | None = None
        self.objects = self.size = 0
        """Put so far: objects, and their bytes."""
        self.complete = False
        """Whether all that there is was put."""
        self.closed = False
        """Whether nobody wants more: who fills stops."""

    def put(self, chunk: Chunk) -> bool:
        """Add a chunk; False when nobody wants more."""
        data = zlib.compress(pickle.dumps(chunk), 1)
        with self._changed:
            if self.closed:
                return False
            try:
                self._file.seek(self._written)
                self._file.write(_LENGTH.pack(len(data)) + data)
            except OSError as error:
                raise StorageError(
                    f"{tempfile.gettempdir()} has no room for the list of what is to do: "
                    f"{error.strerror}; free some space, or set TMPDIR"
                ) from error
            self._written = self._file.tell()
            self.objects += len(chunk.items)
            self.size += chunk.size
            self._changed.notify_all()
        return True

    def take(self, *, wait: bool) -> Chunk | None:
        """The next chunk; None when there is none: at the moment, or with `wait` at all."""
        with self._changed:
            while self._read == self._written and not self.complete:
                if not wait or self._error:
                    break
                self._changed.wait()
            if self._error:
                raise self._error
            if self._read == self._written:
                return None
            self._file.seek(self._read)
            (length,) = _LENGTH.unpack(self._file.read(_LENGTH.size))
            data = self._file.read(length)
            self._read = self._file.tell()
        chunk: Chunk = pickle.loads(zlib.decompress(data))
        return chunk

    def __enter__(self) -> Spool:
        threading.Thread(target=self._run, name="listing", daemon=True).start()
        return self

    def _run(self) -> None:
        try:
            self._fill(self)
        except BaseException as error:  # handed to who takes
            self._error = error
        with self._changed:
            self.complete = self._error is None
            self._changed.notify_all()

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self.closed = True
            self._file.close()
