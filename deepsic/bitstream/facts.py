"""What a `.sic` file says about itself, without a model, torch or numpy."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from deepsic.bitstream.header import PREFIX_BYTES, VERSION, Prefix
from deepsic.bitstream.semantics import Label, Semantics
from deepsic.errors import CorruptFileError, InputError, UsageError
from deepsic.limits import Limits

__all__ = ["Info", "SicFile", "info", "read_file", "read_open", "read_start"]

SicFile = bytes | bytearray | memoryview | str | os.PathLike[str] | IO[bytes]
"""A `.sic` file: its bytes, its path, or open and binary."""


@dataclass(frozen=True, kw_only=True)
class Info:
    """Facts from a file's first bytes and its size; the image itself isn't checked."""

    width: int
    """Pixels."""
    height: int
    """Pixels."""
    mode: str
    """L, LA, RGB or RGBA: what `decode` returns."""
    sixteen_bit: bool
    """The original had 16 bits a channel; 8 were kept."""
    version: int
    """Format version."""
    model_id: str
    """First 8 bytes of the model file's SHA-256, as hexadecimal digits."""
    model_name: str | None
    """Name of that model if it is installed here."""
    quality: int
    """1 to 100."""
    coder: int
    """Entropy coder and context model."""
    tiles: int
    tile_side: int
    """Pixels; 0: the image is one tile."""
    bytes_total: int
    bytes_semantics: int
    bytes_picture: int
    """The tiles' streams with their table and checksums."""
    bytes_metadata: int
    """EXIF, ICC, XMP and the alpha channel: everything after the image."""
    bpp: float
    """Bits a pixel, the whole file counted."""
    label_set: str | None
    """None: no labels were stored."""
    labels: tuple[Label, ...]
    """Stored labels, most probable first."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def read_start(path: Path, count: int) -> tuple[bytes, int]:
    """Return the first `count` bytes of the file and its size in bytes.

    Raises `InputError` if it can't be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(count), os.fstat(file.fileno()).st_size
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def read_open(file: Any) -> Any:
    """What an open file holds, from its beginning if it can be wound back.

    Raises:
        UsageError: it isn't open as binary.
        InputError: it can't be read.
    """
    try:
        if getattr(file, "seekable", bool)():
            file.seek(0)
        return file.read()
    except (UnicodeDecodeError, TypeError) as error:
        raise UsageError(f'can\'t read {file!r}: {error}; open it as binary, "rb"') from None
    except (OSError, ValueError) as error:  # ValueError: it is closed
        raise InputError(f"{file!r}: {error}") from None


def read_file(source: SicFile, limits: Limits) -> bytes:
    """Bytes as they are, or a file's. Raises `UsageError`, `InputError`, `LimitError`."""
    if hasattr(source, "read"):
        source = read_open(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    path = _path_of(source)
    try:
        limits.check_bytes(path.stat().st_size)
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def _path_of(source: Any) -> Path:
    try:
        return Path(source)
    except TypeError:
        raise UsageError(
            f"can't read a .sic file from {type(source).__name__}; give its bytes, its path, or "
            "the file open as binary"
        ) from None


def info(source: SicFile) -> Info:
    """Describe a `.sic` file; of a path, at most the first few kB are read.

    Raises:
        UsageError: neither bytes nor a path nor an open file.
        InputError: it can't be read.
        CorruptFileError: not a `.sic` file, or header or labels damaged, or parts missing.
        UnknownVersionError: written by a newer format version.
    """
    if hasattr(source, "read"):
        source = read_open(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        start, total = bytes(source[:PREFIX_BYTES]), len(source)
    else:
        start, total = read_start(_path_of(source), PREFIX_BYTES)
    prefix = Prefix.unpack(start)
    header = prefix.header
    after = total - prefix.size - prefix.image_bytes
    if after < 0:
        raise CorruptFileError(
            f"truncated: {total:,} bytes of at least {prefix.size + prefix.image_bytes:,}"
        )
    semantics = None if prefix.semantics is None else Semantics.unpack(prefix.semantics)
    return Info(
        width=header.width,
        height=header.height,
        mode=header.mode,
        sixteen_bit=header.sixteen_bit,
        version=VERSION,
        model_id=header.model_id.hex(),
        model_name=_model_name(header.model_id),
        quality=header.quality,
        coder=header.coder,
        tiles=header.tile_count,
        tile_side=1 << header.tile_log2 if header.tile_log2 else 0,
        bytes_total=total,
        bytes_semantics=len(prefix.semantics or b""),
        bytes_picture=prefix.image_bytes,
        bytes_metadata=after,
        bpp=8 * total / (header.width * header.height),
        label_set=semantics.label_set if semantics else None,
        labels=semantics.labels if semantics else (),
    )


def _model_name(identity: bytes) -> str | None:
    from deepsic.zoo import name_of

    return name_of(identity)
