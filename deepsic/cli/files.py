"""Files of a command: which ones are meant, where results go, and writing them whole or not at all.

Standard library only.
"""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepsic import atomic
from deepsic.errors import InputError, UsageError
from deepsic.limits import DEFAULT_LIMITS, Limits

__all__ = [
    "PICTURES",
    "STREAM",
    "Conversion",
    "check_free",
    "expand",
    "plan",
    "read",
    "read_start",
    "write",
]

STREAM = Path("-")
"""Standard input as a source, standard output as a target."""

#: Suffixes that make a file in a folder a picture.
PICTURES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".gif", ".ppm"}
    | {".pgm", ".jp2", ".j2k", ".jxl", ".tga", ".qoi"}
)


@dataclass(frozen=True)
class Conversion:
    """One source and the file to make of it; `STREAM` stands for standard input and output."""

    source: Path
    target: Path


def expand(sources: Iterable[str], suffixes: frozenset[str]) -> list[tuple[Path, Path]]:
    """Turn files, folders, globs and `-` into (path, path below its source) pairs, in order.

    Folders are searched to the bottom for files with one of `suffixes`; files that are named or
    globbed are taken whatever they are called.

    Raises:
        InputError: a source doesn't exist.
        UsageError: nothing is left to do.
    """
    found: dict[Path, Path] = {}
    for source in sources:
        path = Path(source)
        if source == "-":
            found[STREAM] = STREAM
        elif path.is_dir():
            inside = (p for p in path.rglob("*") if p.suffix.lower() in suffixes and p.is_file())
            found.update((p, p.relative_to(path)) for p in sorted(inside))
        elif path.exists():
            found[path] = Path(path.name)
        else:
            matches = [Path(match) for match in sorted(glob.glob(source, recursive=True))]
            if not matches:
                raise InputError(f"{source}: no such file, folder or match; check the path")
            found.update((p, Path(p.name)) for p in matches if p.is_file())
    if not found:
        raise UsageError(
            f"nothing found with one of the suffixes {' '.join(sorted(suffixes))}; "
            "name files or a folder that holds some"
        )
    return list(found.items())


def plan(found: Sequence[tuple[Path, Path]], output: str | None, suffix: str) -> list[Conversion]:
    """Say where the result of each source goes.

    Without `output`: beside the source, with `suffix`. `output` is a file if there is one source
    and it isn't a folder; otherwise a folder, in which folders' inner structure is kept.

    Raises `UsageError` if two sources would get the same target.
    """
    folder = output is not None and (
        len(found) > 1 or output.endswith(os.sep) or Path(output).is_dir()
    )
    conversions: dict[Path, Conversion] = {}
    for source, inner in found:
        if output == "-" or (output is None and source == STREAM):
            target = STREAM
        elif output is None:
            target = source.with_suffix(suffix)
        elif folder:
            stem = Path("stdin") if source == STREAM else inner
            target = Path(output) / stem.with_suffix(suffix)
        else:
            target = Path(output)
        if target in conversions:
            raise UsageError(
                f"{conversions[target].source} and {source} would both become {target}; "
                "give them one at a time, with -o"
            )
        if target == source != STREAM:
            raise UsageError(f"{source} would replace itself; name another target with -o")
        conversions[target] = Conversion(source, target)
    return list(conversions.values())


def read(path: Path, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Return a file's bytes, or standard input's.

    Raises:
        InputError: can't be read.
        LimitError: more than `limits.max_input_bytes`.
    """
    try:
        if path == STREAM:
            data = sys.stdin.buffer.read(limits.max_input_bytes + 1)
        else:
            limits.check_bytes(path.stat().st_size)
            data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    limits.check_bytes(len(data))
    return data


def read_start(path: Path, count: int) -> bytes:
    """Return a file's first `count` bytes, or all of standard input. Raises as `read`."""
    if path == STREAM:
        return read(path)
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None


def check_free(path: Path, *, force: bool) -> None:
    """Raise `UsageError` if `path` exists and mayn't be replaced."""
    if path != STREAM and not force and path.exists():
        raise UsageError(f"{path} exists already; -f replaces it")


def write(path: Path, data: bytes, *, force: bool = False) -> None:
    """Write a file whole or not at all, by `deepsic.atomic`, or standard output.

    Raises:
        UsageError: `path` exists and `force` is false.
        StorageError: the disk is full, or writing isn't allowed.
    """
    if path == STREAM:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    check_free(path, force=force)
    atomic.write(path, data)
