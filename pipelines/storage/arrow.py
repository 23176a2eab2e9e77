"""A storage as Arrow sees it: files for reading Parquet in parts, a filesystem for Ray."""

from __future__ import annotations

import functools
import io
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
from pyarrow.fs import FileInfo, FileSelector, FileSystemHandler, FileType, PyFileSystem

from pipelines.storage.base import ObjectInfo, Storage
from pipelines.storage.errors import ObjectMissingError

__all__ = ["ObjectFile", "filesystem"]

#: Requests of one file at once.
REQUESTS = 8
#: Bytes that are read sooner than a request is made because of them.
HOLE = 65_536


class ObjectFile(io.RawIOBase):
    """An object as a file that is read in parts; each read is one request, unless fetched before.

    Arrow reads a Python file one stretch after another, whatever waits for the store meanwhile.
    """

    def __init__(self, storage: Storage, key: str, size: int) -> None:
        self._storage, self._key, self._size, self._at = storage, key, size, 0
        self._fetched: dict[int, bytes] = {}

    def fetch(self, stretches: Iterable[tuple[int, int]]) -> None:
        """Ask for (first byte, length) of each at once; in place of those asked for before."""
        wanted = list(_joined(sorted(stretches)))
        ask = functools.partial(self._storage.get_range, self._key)
        with ThreadPoolExecutor(REQUESTS, "ranges") as pool:
            answers = pool.map(lambda stretch: ask(*stretch), wanted)
            self._fetched = {first: data for (first, _), data in zip(wanted, answers, strict=True)}

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._size - self._at)
        wanted = left if size is None or size < 0 else min(size, left)
        data = self._stretch(self._at, wanted) if wanted else b""
        self._at += len(data)
        return data

    def readall(self) -> bytes:
        return self.read()

    def _stretch(self, first: int, length: int) -> bytes:
        for begin, data in self._fetched.items():
            if begin <= first and first + length <= begin + len(data):
                return data[first - begin : first - begin + length]
        return self._storage.get_range(self._key, first, length)


def _joined(stretches: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Stretches in order, those made one between which little lies."""
    begin = end = -HOLE
    for first, length in stretches:
        if first - end < HOLE:
            end = max(end, first + length)
            continue
        if end > begin:
            yield begin, end - begin
        begin, end = first, first + length
    if end > begin:
        yield begin, end - begin


class _Upload(io.BytesIO):
    """Collects an object and puts it when it is closed."""

    def __init__(self, storage: Storage, key: str) -> None:
        super().__init__()
        self._storage, self._key = storage, key

    def close(self) -> None:
        if not self.closed:
            self._storage.put(self._key, self.getvalue())
        super().close()


class _Handler(FileSystemHandler):  # type: ignore[misc]
    """What `pyarrow.fs.FileSystem` asks, by the storage's own client. Folders are made of keys."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Handler) and self._storage == other._storage

    def __ne__(self, other: object) -> bool:
        return not self == other

    def get_type_name(self) -> str:
        return "deepsic-storage"

    def normalize_path(self, path: str) -> str:
        return path.strip("/")

    def get_file_info(self, paths: list[str]) -> list[FileInfo]:
        return [self._info(path.strip("/")) for path in paths]

    def _info(self, path: str) -> FileInfo:
        try:
            return _file(self._storage.stat(path))
        except ObjectMissingError:
            below = not path or next(self._storage.list(path + "/"), None) is not None
            return FileInfo(path, FileType.Directory if below else FileType.NotFound)

    def get_file_info_selector(self, selector: FileSelector) -> list[FileInfo]:
        base = selector.base_dir.strip("/")
        found: dict[str, FileInfo] = {}
        for info in self._storage.list(base + "/" if base else ""):
            parts = info.key[len(base) :].strip("/").split("/")
            for depth in range(1, len(parts) if selector.recursive else min(2, len(parts))):
                folder = "/".join([*([base] if base else []), *parts[:depth]])
                found.setdefault(folder, FileInfo(folder, FileType.Directory))
            if selector.recursive or len(parts) == 1:
                found[info.key] = _file(info)
        if not found and base and not selector.allow_not_found:
            raise FileNotFoundError(base)
        return list(found.values())

    def create_dir(self, path: str, recursive: bool) -> None:
        """A folder is there as soon as something is in it."""

    def delete_dir(self, path: str) -> None:
        self.delete_dir_contents(path)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        for info in list(self._storage.list(path.strip("/") + "/")):
            self._storage.delete(info.key)

    def delete_root_dir_contents(self) -> None:
        raise NotImplementedError("deleting all of a storage")

    def delete_file(self, path: str) -> None:
        self._storage.delete(path.strip("/"))

    def move(self, src: str, dest: str) -> None:
        self.copy_file(src, dest)
        self._storage.delete(src.strip("/"))

    def copy_file(self, src: str, dest: str) -> None:
        self._storage.put(dest.strip("/"), self._storage.get(src.strip("/")).data)

    def open_input_stream(self, path: str) -> Any:
        return self.open_input_file(path)

    def open_input_file(self, path: str) -> Any:
        key = path.strip("/")
        try:
            size = self._storage.stat(key).size
        except ObjectMissingError as error:
            raise FileNotFoundError(path) from error
        return pa.PythonFile(ObjectFile(self._storage, key, size), mode="r")

    def open_output_stream(self, path: str, metadata: object) -> Any:
        return pa.PythonFile(_Upload(self._storage, path.strip("/")), mode="w")

    def open_append_stream(self, path: str, metadata: object) -> Any:
        raise NotImplementedError("objects are written whole")


def _file(info: ObjectInfo) -> FileInfo:
    return FileInfo(info.key, FileType.File, size=info.size, mtime=info.modified)


def filesystem(storage: Storage) -> PyFileSystem:
    """`storage` as a `pyarrow.fs.FileSystem`, paths below its root."""
    return PyFileSystem(_Handler(storage))
