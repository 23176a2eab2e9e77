"""The files of the sources, sorted, with their classes; and the hash of what they are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepsic.data.photographs import photographs
from deepsic.errors import InputError
from deepsic.image_io.load import load_image
from deepsic.image_io.suffixes import is_image
from deepsic.labels import SETS, class_names
from deepsic.limits import DEFAULT_LIMITS
from pipelines.preparing.parquet import PARQUET_SUFFIXES, parquet_samples
from pipelines.preparing.policy import EMBEDDED, DataSource, Policy
from pipelines.preparing.samples import Sample
from pipelines.preparing.tars import TAR_SUFFIXES, tar_samples
from pipelines.storage import (
    AccessError,
    ObjectInfo,
    ObjectMissingError,
    StorageUnavailableError,
    open_storage,
    selected,
)

__all__ = ["FileList", "FileRef", "embedded_images", "find_files", "named_classes", "samples_of"]

_CONTAINERS = TAR_SUFFIXES + PARQUET_SUFFIXES
_BUFFER = 8_000_000
"""Bytes of a container that are asked for at a time."""


@dataclass(frozen=True, slots=True)
class FileRef:
    """One file to read: an image, or a tar or Parquet file with many."""

    source: int
    key: str
    class_name: str
    """Name of its folder where that is one of several side by side, else empty."""
    problem: str = ""

    @property
    def is_container(self) -> bool:
        """Whether it holds many images."""
        return self.key.endswith(_CONTAINERS)


@dataclass(frozen=True, kw_only=True)
class FileList:
    """All files, the classes that folders name, and a hash of it all."""

    files: list[FileRef]
    classes: list[str]
    hash: str


def find_files(sources: Sequence[DataSource], exclude: Sequence[str] = ()) -> FileList:
    """List the sources.

    Raises:
        InputError: a source without an image.
        StorageError: one that can't be listed.
    """
    files: list[FileRef] = []
    classes: set[str] = set()
    digest = hashlib.sha256()
    for number, source in enumerate(sources):
        listed = list(_listing(source))
        packed = [item for item in listed if item.key.endswith(_CONTAINERS)]
        kept = [i for i in listed if is_image(i.key) and selected(i.key, exclude=exclude)]
        kept = kept[:: source.every]
        if not kept and not packed:
            raise InputError(f"no image, tar or Parquet file in {source.url}")
        for item in kept + packed:
            digest.update(f"{number}\0{item.key}\0{item.size}\0{item.etag}\n".encode())
        folders = {_folder(item.key) for item in kept}
        by_class = len(folders) > 1 and all("/" not in f for f in folders) and "" not in folders
        files += [
            FileRef(number, i.key, _folder(i.key) if by_class else "", i.problem) for i in kept
        ]
        files += [FileRef(number, i.key, "", i.problem) for i in packed]
        if by_class:
            classes |= folders | _empty_folders(source.url, folders)
    return FileList(files=files, classes=sorted(classes), hash=digest.hexdigest()[:16])


def named_classes(source: DataSource) -> list[str]:
    """Names of the classes that a source's files give as numbers; empty if it names none.

    Raises:
        InputError: neither a label set nor a text file with a name a line.
    """
    if not source.classes:
        return []
    if source.classes in SETS:
        return class_names(source.classes)
    folder, _, name = source.classes.rpartition("/")
    storage = open_storage(folder or ".")
    if not storage.exists(name):
        raise InputError(
            f"classes={source.classes} is neither a label set ({', '.join(SETS)}) nor a text file "
            "with one class name a line"
        )
    lines = storage.get(name).data.decode("utf-8", "replace").splitlines()
    return [line.strip() for line in lines if line.strip()]


def samples_of(
    source: DataSource, file: FileRef, policy: Policy, names: Sequence[str]
) -> Iterator[Sample | Exception]:
    """The images of one file; errors that concern one image in its place.

    Args:
        names: of classes that come as numbers.

    Raises:
        InputError: what can't be read at all.
        StorageError: the source doesn't answer.
    """
    if file.problem:
        raise InputError(file.problem)
    if not file.is_container:
        data = _read(source, file.key)
        yield Sample(key=file.key, data=data, class_name=file.class_name)
        return
    filesystem, root = open_storage(source.url).arrow()
    path = f"{root}/{file.key}"
    parquet = file.key.endswith(PARQUET_SUFFIXES)
    try:
        with (
            filesystem.open_input_file(path)
            if parquet
            else filesystem.open_input_stream(path, compression=None, buffer_size=_BUFFER)
        ) as stream:
            read = parquet_samples if parquet else tar_samples
            found = read(stream, file.key, names, DEFAULT_LIMITS)
            for number, sample in enumerate(found):
                wanted = number % source.every == 0
                if isinstance(sample, Sample):
                    wanted = wanted and selected(sample.key, exclude=policy.exclude)
                if wanted:
                    yield sample
    except FileNotFoundError:
        raise ObjectMissingError(f"{source.url}/{file.key} doesn't exist any more") from None
    except PermissionError as error:
        raise AccessError(
            f"{source.url}/{file.key}: {error}; check its owner and rights"
        ) from error
    except OSError as error:
        raise StorageUnavailableError(f"{source.url}/{file.key}: {error}") from error


def _read(source: DataSource, key: str) -> bytes:
    if source.url == EMBEDDED:
        return next(path for path in photographs() if path.name == key).read_bytes()
    return open_storage(source.url).get(key).data


def _empty_folders(url: str, known: set[str]) -> set[str]:
    """Folders of a local source without an image: classes still, so that numbers stay put."""
    if "://" in url or not Path(url).is_dir():
        return set()
    shown = (path for path in Path(url).iterdir() if not path.name.startswith("."))
    return {path.name for path in shown if path.is_dir()} - known


def _folder(key: str) -> str:
    return key.rpartition("/")[0]


def _listing(source: DataSource) -> Iterator[ObjectInfo]:
    if source.url == EMBEDDED:
        for path in photographs():
            yield ObjectInfo(path.name, path.stat().st_size, path.name)
        return
    storage = open_storage(source.url)
    storage.check()
    yield from storage.list()


def embedded_images() -> Iterator[NDArray[np.uint8]]:
    """The photographs that scikit-image ships, (H, W, 3).

    Raises:
        InputError: scikit-image isn't installed.
    """
    for path in photographs():
        yield load_image(path).rgb
