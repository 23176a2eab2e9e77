"""Which objects of a source a run takes: all, a list of keys, an S3 Inventory; by patterns."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from deepsic.errors import InputError, UsageError
from pipelines.archive.listing.inventory import inventory_rows
from pipelines.storage import (
    ObjectInfo,
    ObjectMissingError,
    S3Storage,
    Storage,
    open_storage,
    selected,
)
from pipelines.storage.listing import sorted_on_disk

__all__ = ["Selection", "open_source"]

#: Threads that list a piece of a bucket each: more only wait for one another, and hold more rows.
LANES = 8
#: Threads that ask for heads.
HEADS = 16
#: Rows of a list that are sorted in memory; a longer one is sorted by way of files.
RUN_ROWS = 500_000
HEADS_AHEAD = 1000


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What is taken of a source's listing."""

    only: str | None = None
    """One key: an archive of one object."""
    files_from: str | None = None
    """A file of keys, one a line; "-" for standard input."""
    inventory: str | None = None
    """Address of an S3 Inventory's manifest.json."""
    include: tuple[str, ...] = ()
    """Patterns (`*.jpg`) of which a key must match one; none: every key."""
    exclude: tuple[str, ...] = ()
    """Patterns of which it may match none."""

    def __post_init__(self) -> None:
        if self.files_from and self.inventory:
            raise UsageError("give --files-from or --inventory, not both")
        if self.inventory and not self.inventory.startswith("s3://"):
            raise UsageError(
                f"--inventory {self.inventory}: give the s3:// address of its manifest"
            )

    def matches(self, key: str) -> bool:
        """Whether the patterns let a key through."""
        return selected(key, self.include, self.exclude)

    def pieces(self, source: Storage) -> list[tuple[str, str | None]]:
        """(after, upto) of the stretches that are listed side by side."""
        if self.only or self.files_from or self.inventory:
            return [("", None)]
        cuts = source.split(LANES)
        ends: list[str | None] = [*cuts, None]
        return list(zip(["", *cuts], ends, strict=True))

    def list(self, source: Storage, after: str, upto: str | None) -> Iterator[ObjectInfo]:
        """The objects of one stretch, in key order."""
        found = self._all(source, after, upto)
        if not self.include and not self.exclude:
            return found
        return (info for info in found if self.matches(info.key))

    def _all(self, source: Storage, after: str, upto: str | None) -> Iterator[ObjectInfo]:
        if self.only is not None:
            yield source.stat(self.only)
        elif self.files_from is not None:
            yield from _stat_all(source, _read_keys(self.files_from))
        elif self.inventory is not None:
            folder, _, name = self.inventory.rpartition("/")
            yield from _in_order(inventory_rows(S3Storage(folder), name, source))
        else:
            yield from source.list(after=after, upto=upto)


def open_source(url: str) -> tuple[Storage, Selection, str]:
    """(storage, selection, canonical address) of a folder, a prefix, or one object.

    Raises: storage errors when there is neither.
    """
    plain, mark, options = url.partition("?") if url.startswith("s3://") else (url, "", "")
    plain = plain if plain.startswith("s3://") else os.path.abspath(os.path.expanduser(plain))
    if plain.startswith("s3://"):
        storage = open_storage(url)
        storage.check()
        parts = plain.rstrip("/").split("/")
        if len(parts) < 4 or url.endswith("/") or next(storage.list(), None) is not None:
            return storage, Selection(), storage.url
    elif not os.path.isfile(plain):
        storage = open_storage(url)
        storage.check()
        return storage, Selection(), storage.url
    folder, _, name = plain.rpartition("/")
    one = open_storage(folder + mark + options if folder else "/")
    try:
        one.stat(name)
    except ObjectMissingError:  # a prefix without objects: the job says so
        return storage, Selection(), storage.url
    return one, Selection(only=name), f"{one.url}/{name}"


def _read_keys(path: str) -> Iterator[str]:
    with contextlib.ExitStack() as stack:
        try:
            lines = sys.stdin if path == "-" else stack.enter_context(open(path, encoding="utf-8"))
            keys = ((line.rstrip("\r\n"),) for line in lines)
            last = None
            for (key,) in sorted_on_disk((k for k in keys if k[0]), stack, RUN_ROWS):
                if key != last:
                    yield key
                last = key
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"--files-from {path} can't be read: {error}") from error


def _stat_all(source: Storage, keys: Iterable[str]) -> Iterator[ObjectInfo]:
    """Ask for many heads at once; one that is missing is an object with a problem."""

    def stat(key: str) -> ObjectInfo:
        try:
            return source.stat(key)
        except ObjectMissingError:
            return ObjectInfo(key, 0, "", "there is no object of this key")

    with ThreadPoolExecutor(HEADS, "heads") as pool:
        keys = iter(keys)
        while batch := list(itertools.islice(keys, HEADS_AHEAD)):
            yield from pool.map(stat, batch)


def _in_order(infos: Iterable[ObjectInfo]) -> Iterator[ObjectInfo]:
    rows = ((i.key, i.size, i.etag, i.problem, i.modified, i.storage_class) for i in infos)
    with contextlib.ExitStack() as stack:
        for row in sorted_on_disk(rows, stack, RUN_ROWS):
            yield ObjectInfo(*row)
