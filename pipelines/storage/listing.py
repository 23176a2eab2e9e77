"""A local tree as a sorted stream of objects, as S3 would list it."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from pipelines.storage.base import ObjectInfo

__all__ = ["describe", "etag_of", "selected", "sorted_on_disk", "walk"]

Row = TypeVar("Row", bound=tuple[Any, ...])
#: Names of one folder that are sorted in memory; a larger folder is sorted by way of a file.
RUN_NAMES = 50_000


def selected(key: str, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> bool:
    """Whether patterns let a key through: one of `include`, unless empty, and none of `exclude`.

    A pattern, such as `*.jpg` or `2019/*`, is of the whole key or of its last part; `*` also
    matches slashes.
    """
    names = key, key.rpartition("/")[2]

    def any_of(patterns: Sequence[str]) -> bool:
        return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)

    return (not include or any_of(include)) and not any_of(exclude)


def etag_of(status: os.stat_result) -> str:
    """Tag of a file's content: changes with its size or modification time."""
    return f"{status.st_mtime_ns:x}-{status.st_size:x}"


def walk(
    root: str, prefix: str = "", *, hidden: frozenset[str] = frozenset()
) -> Iterator[ObjectInfo]:
    """Every file below `root`/`prefix`, by key in UTF-8 order.

    Links to files are read as files. Links to folders are not entered, so loops can't be: they
    are listed with a `problem`, as are sockets, dangling links and names that aren't UTF-8.

    hidden: keys of folders to leave out.
    """
    stack = [(prefix, _entries(os.path.join(root, prefix), prefix))]
    while stack:
        folder, entries = stack[-1]
        try:
            entry = next(entries, None)
        except FileNotFoundError:  # removed since its parent was read
            if len(stack) == 1:
                raise
            entry = None
        except OSError as error:
            if len(stack) == 1:
                raise
            yield ObjectInfo(folder, 0, "", f"folder can't be listed: {error.strerror}")
            entry = None
        if entry is None:
            stack.pop()
        elif not entry[0].endswith("/"):
            yield describe(*entry)
        elif entry[0].rstrip("/") not in hidden:
            stack.append((entry[0], _entries(entry[1], entry[0])))


def _entries(folder: str, prefix: str) -> Iterator[tuple[str, str]]:
    """(key, path) of a folder's entries in key order; keys of folders end in a slash."""
    with contextlib.ExitStack() as files:
        for key, name in sorted_on_disk(_scan(folder, prefix), files, RUN_NAMES):
            yield key, os.path.join(folder, name)


def _scan(folder: str, prefix: str) -> Iterator[tuple[str, str]]:
    with os.scandir(folder or ".") as entries:
        for entry in entries:
            name = os.fsencode(entry.name).decode("utf-8", "backslashreplace")
            slash = "/" if entry.is_dir(follow_symlinks=False) else ""
            yield prefix + name + slash, entry.name


def sorted_on_disk(rows: Iterable[Row], files: contextlib.ExitStack, run: int) -> Iterator[Row]:
    """Sort tuples of text and numbers in bounded memory: runs of `run`, each in a file, merged."""
    rows = iter(rows)
    first = sorted(itertools.islice(rows, run))
    runs: list[Iterator[Row]] = [iter(first)]
    while piece := sorted(itertools.islice(rows, run)):
        spill = files.enter_context(tempfile.TemporaryFile("w+", encoding="ascii"))  # noqa: SIM115
        spill.writelines(json.dumps(row) + "\n" for row in piece)
        spill.seek(0)
        runs.append(tuple(row) for row in map(json.loads, spill))  # type: ignore[misc]
    return heapq.merge(*runs) if len(runs) > 1 else runs[0]


def describe(key: str, path: str) -> ObjectInfo:
    """What a listing says of the file at `path`."""
    problem = ""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return ObjectInfo(key, 0, "", "gone, or a link to nothing")
    except OSError as error:
        return ObjectInfo(key, 0, "", f"can't be looked at: {error.strerror}")
    if stat.S_ISDIR(status.st_mode):
        problem = "a link to a folder; links to folders are not followed"
    elif not stat.S_ISREG(status.st_mode):
        problem = "not a regular file"
    elif not path.isascii() and any("\udc80" <= letter <= "\udcff" for letter in path):
        problem = "its name is not valid UTF-8; rename it"
    return ObjectInfo(key, status.st_size, etag_of(status), problem, status.st_mtime)
