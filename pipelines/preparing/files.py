"""The files of the sources, sorted, with their classes; and the hash of what they are."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from deepsic.errors import InputError
from pipelines.preparing.policy import EMBEDDED, Source
from pipelines.storage import ObjectInfo, open_storage

__all__ = ["FileList", "FileRef", "find_files", "read_file"]

SUFFIXES = {
    ".jpg", ".jpeg", ".png", ".webp", ".avif", ".bmp", ".gif", ".jp2", ".jxl", ".ppm", ".tif",
    ".tiff",
}  # fmt: skip
_PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png")


@dataclass(frozen=True, slots=True)
class FileRef:
    """One file to read."""

    source: int
    key: str
    class_name: str
    """Name of its folder where that is one of several side by side, else empty."""
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class FileList:
    """All files, the classes in order, classes without files, and a hash of it all."""

    files: list[FileRef]
    classes: list[str]
    hash: str


def find_files(sources: Sequence[Source], exclude: Sequence[str] = ()) -> FileList:
    """List the sources.

    Raises:
        InputError: a source without a picture.
        StorageError: one that can't be listed.
    """
    files: list[FileRef] = []
    classes: set[str] = set()
    digest = hashlib.sha256()
    for number, source in enumerate(sources):
        kept = [
            item
            for item in _listing(source)
            if PurePosixPath(item.key).suffix.lower() in SUFFIXES
            and not any(fnmatch.fnmatch(PurePosixPath(item.key).name, p) for p in exclude)
        ][:: source.every]
        if not kept:
            raise InputError(f"no picture in {source.url}")
        for item in kept:
            digest.update(f"{number}\0{item.key}\0{item.size}\0{item.etag}\n".encode())
        folders = {_folder(item.key) for item in kept}
        empty = _empty_folders(source.url, folders)
        by_class = len(folders) > 1 and all("/" not in f for f in folders) and "" not in folders
        files += [
            FileRef(number, i.key, _folder(i.key) if by_class else "", i.problem) for i in kept
        ]
        classes |= ({file.class_name for file in files} - {""}) | (empty if by_class else set())
    return FileList(files=files, classes=sorted(classes), hash=digest.hexdigest()[:16])


def read_file(source: Source, key: str) -> bytes:
    """Bytes of a file."""
    if source.url == EMBEDDED:
        return _embedded_folder().joinpath(key).read_bytes()
    return open_storage(source.url).get(key).data


def _empty_folders(url: str, known: set[str]) -> set[str]:
    """Folders of a local source without a picture: classes still, so that numbers stay put."""
    if "://" in url or not Path(url).is_dir():
        return set()
    return {p.name for p in Path(url).iterdir() if p.is_dir()} - known


def _folder(key: str) -> str:
    return key.rpartition("/")[0]


def _listing(source: Source) -> Iterator[ObjectInfo]:
    if source.url == EMBEDDED:
        folder = _embedded_folder()
        for name in _PHOTOGRAPHS:
            if (folder / name).is_file():
                yield ObjectInfo(name, (folder / name).stat().st_size, name)
        return
    storage = open_storage(source.url)
    storage.check()
    yield from storage.list()


def _embedded_folder() -> Path:
    from importlib.util import find_spec

    spec = find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("the embedded photographs need scikit-image; give a folder")
    return Path(next(iter(spec.submodule_search_locations)), "data")
