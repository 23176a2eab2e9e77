"""Files of a command: which ones are meant, where results go, and writing them whole or not at all.

Standard library only.
"""

from __future__ import annotations

import glob
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from deepsic import atomic
from deepsic.errors import InputError, StorageError, UsageError, counted
from deepsic.limits import DEFAULT_LIMITS, Limits

__all__ = [
    "STREAM",
    "Conversion",
    "FoundFiles",
    "Reason",
    "Target",
    "expand",
    "found",
    "is_stream",
    "not_a_sic_file",
    "not_an_image",
    "plan",
    "read",
    "read_start",
]

STREAM = Path("-")
"""Standard input as a source, standard output as a target."""

_UNREADABLE, _LINKED, _BROKEN, _SPECIAL = (
    "unreadable folder", "folder link", "broken link", "device or pipe",
)  # fmt: skip
_NO_FILES = (_UNREADABLE, _LINKED, _BROKEN, _SPECIAL)
"""What a folder may hold beside files."""

Reason = Callable[[Path], str]
"""Says why a file in a folder is left out; empty: it is taken."""


@dataclass(frozen=True)
class Conversion:
    """One source and the file to make of it; `STREAM` stands for standard input and output."""

    source: Path
    target: Path


@dataclass(frozen=True, kw_only=True)
class FoundFiles:
    """The files that a command's sources mean."""

    files: list[tuple[Path, Path]]
    """Path, and path below the folder or the fixed part of the glob that it was found by."""
    many: bool
    """Whether a folder or a glob was among the sources: results go to a folder then."""
    left_out: Counter[str]
    """How many files in folders were left out, by reason."""


@dataclass(frozen=True)
class Target:
    """Where results go, and what happens to files that are there."""

    output: str | None
    """None: beside the source. A file if there is one source and it isn't a folder or glob;
    otherwise a folder, in which folders' inner structure is kept."""
    suffix: str
    force: bool = False
    skip_existing: bool = False
    keep_suffix: bool = False
    preserve: bool = False

    def up_to_date(self, job: Conversion) -> bool:
        """Whether a file is there that may stay.

        Raises:
            UsageError: one is there that mayn't be replaced.
            StorageError: the target can't be looked at, as its name is too long.
        """
        try:
            there = job.target != STREAM and (job.target.is_file() or job.target.is_dir())
        except OSError as error:
            raise StorageError(f"can't write {job.target}: {error.strerror or error}") from None
        if there and not self.skip_existing and not self.force:
            raise UsageError(
                f"{job.target} exists already; -f replaces it, --skip-existing doesn't"
            )
        return there and self.skip_existing

    def write(self, job: Conversion, data: bytes) -> None:
        """Write a result whole or not at all, by `deepsic.atomic`, or to standard output.

        Raises `StorageError`: the disk is full, or writing isn't allowed.
        """
        if job.target == STREAM:
            _write_out(data)
            return
        atomic.write(job.target, data)
        if self.preserve and job.source != STREAM and job.target.is_file():
            times = job.source.stat()
            os.utime(job.target, ns=(times.st_atime_ns, times.st_mtime_ns))


def not_a_sic_file(path: Path) -> str:
    """The `Reason` of verbs that read `.sic` files."""
    return "" if path.suffix.lower() == ".sic" else "not .sic"


def expand(sources: Iterable[str], left_out: Reason) -> FoundFiles:
    """Turn files, folders, globs and `-` into the files meant, in order.

    Folders are searched to the bottom; files that are named or globbed are taken in any case.

    Raises:
        InputError: a source doesn't exist.
        UsageError: nothing is left to do.
    """
    found: dict[Path, Path] = {}
    reasons: Counter[str] = Counter()
    many = False
    for source in sources:
        path = Path(source)
        there = source == "-" or _is_there(path)
        if source == "-":
            found[STREAM] = STREAM
        elif there and path.is_dir():
            many = True
            for inside in _files_below(path, reasons):
                reason = left_out(inside)
                if reason:
                    reasons[reason] += 1
                else:
                    found[inside] = inside.relative_to(path)
        elif there:
            found[path] = Path(path.name)
        else:
            many = True
            matches = [Path(match) for match in sorted(glob.glob(source, recursive=True))]
            if not matches:
                raise InputError(f"{source}: no such file, folder or match")
            fixed = takewhile(lambda part: not glob.has_magic(part), path.parts)
            base = Path(*fixed)
            found.update((p, p.relative_to(base)) for p in matches if p.is_file())
    if not found:
        raise UsageError(f"nothing to do: the folder holds {_told(reasons) or 'no files'}")
    return FoundFiles(files=list(found.items()), many=many, left_out=reasons)


def found(sources: Sequence[str], left_out: Reason = not_a_sic_file) -> FoundFiles:
    """The files meant; what folders hold beside them is counted on standard error."""
    meant = expand(sources, left_out)
    if meant.left_out:
        sys.stderr.write(f"deepsic: left out: {_told(meant.left_out)}\n")
    return meant


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError) as error:  # its name is too long, or has a null byte
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def _told(left_out: Counter[str]) -> str:
    return ", ".join(
        counted(count, reason) if reason in _NO_FILES else f"{count} {reason}"
        for reason, count in left_out.items()
    )


def _files_below(folder: Path, left_out: Counter[str]) -> list[Path]:
    """The files below a folder, in order. What is there and isn't a file is counted."""
    below = []

    def refused(error: OSError) -> None:
        left_out[_UNREADABLE] += 1

    for root, folders, names in os.walk(folder, onerror=refused):
        left_out[_LINKED] += sum(os.path.islink(os.path.join(root, name)) for name in folders)
        for path in (Path(root, name) for name in names):
            if path.is_file():
                below.append(path)
            else:
                left_out[_BROKEN if path.is_symlink() else _SPECIAL] += 1
    for reason in _NO_FILES:
        if not left_out[reason]:
            del left_out[reason]
    return sorted(below)


def not_an_image(path: Path) -> str:
    """Why a file in a folder is left out of encoding, by its content; empty: it is taken."""
    if not not_a_sic_file(path):
        return ".sic already"
    from deepsic.image_io.decoders import claims_to_be_image

    try:
        if not path.stat().st_size:
            return "empty"
        with path.open("rb") as file:
            return "" if claims_to_be_image(file) else "not an image"
    except OSError:
        return ""  # named when its turn comes


def plan(found: FoundFiles, to: Target) -> list[Conversion]:
    """Say where the result of each source goes.

    Sources that differ in their suffix only, x.jpg and x.png, keep it: x.jpg.sic, x.png.sic.

    Raises `UsageError` if two sources would get the same target in spite of that.
    """
    shared = Counter(inner.with_suffix("") for _, inner in found.files)
    output = to.output
    folder = output is not None and (
        found.many or len(found.files) > 1 or output.endswith(os.sep) or Path(output).is_dir()
    )
    conversions: dict[Path, Conversion] = {}
    for source, inner in found.files:
        stem = Path("stdin") if source == STREAM else inner
        if to.keep_suffix or shared[inner.with_suffix("")] > 1:
            named = stem.with_name(stem.name + to.suffix)
        else:
            named = stem.with_suffix(to.suffix)
        if output == "-" or (output is None and source == STREAM):
            target = STREAM
        elif output is None:
            target = source.with_name(named.name)
        else:
            target = Path(output) / named if folder else Path(output)
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
            with path.open("rb") as file:
                data = file.read(limits.max_input_bytes + 1)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    limits.check_bytes(len(data))
    return data


def is_stream(path: Path) -> bool:
    """Whether a source can be read only once: standard input, a FIFO, a device."""
    return path == STREAM or (path.exists() and not path.is_file())


def read_start(path: Path, count: int) -> bytes:
    """Return a file's first `count` bytes, or all of a stream. Raises as `read`."""
    if is_stream(path):
        return read(path)
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None


def _write_out(data: bytes) -> None:
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StorageError(f"standard output: {error.strerror or error}") from None
