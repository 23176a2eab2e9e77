"""The metadata part: EXIF, ICC profile and XMP, each a chunk.

A chunk is a tag byte (bits 0-5 tag, bit 6 deflated, bit 7 "may be skipped"), a varint length and
that many bytes. Unknown tags are an error unless bit 7 is set. A CRC-32 over all chunks ends the
part and the file.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from deepsic.bitstream.reader import Reader, varint
from deepsic.errors import CorruptFileError, LimitError
from deepsic.limits import Limits

__all__ = ["Metadata"]

_TAGS = {1: "exif", 2: "icc", 3: "xmp"}
_DEFLATED, _SKIPPABLE = 0x40, 0x80


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What travels beside the image; None where the original had none."""

    exif: bytes | None = None
    """The TIFF structure, without the `Exif\\0\\0` that JPEG puts before it."""
    icc: bytes | None = None
    xmp: bytes | None = None

    def __bool__(self) -> bool:
        return any(value is not None for value in vars(self).values())

    def pack(self) -> bytes:
        """Return the whole part; deflate a chunk where that makes it smaller."""
        out = bytearray()
        for tag, name in _TAGS.items():
            raw: bytes | None = getattr(self, name)
            if raw is None:
                continue
            small = zlib.compress(raw, 9)
            stored = small if len(small) < len(raw) else raw
            out.append(tag | (_DEFLATED if stored is small else 0))
            out += varint(len(stored)) + stored
        return bytes(out) + zlib.crc32(out).to_bytes(4, "little")

    @classmethod
    def unpack(cls, blob: bytes | memoryview, start: int, limits: Limits) -> Metadata:
        """Read the part that runs from offset `start` to the end of `blob`."""
        end = len(blob) - 4
        whole = Reader(blob, "metadata", start)
        whole.take(max(end - start, 0))
        whole.check_crc(start)
        reader = Reader(blob, "metadata", start, end)
        found: dict[str, bytes] = {}
        budget = limits.max_metadata_bytes
        while reader.left > 0:
            tag = reader.uint(1)
            stored = reader.take(reader.varint())
            if tag & _SKIPPABLE:
                continue
            name = _TAGS.get(tag & 0x3F)
            if name is None or name in found:
                raise CorruptFileError(f"metadata: unknown or repeated chunk {tag & 0x3F}")
            found[name] = _inflate(stored, budget) if tag & _DEFLATED else bytes(stored)
            budget -= len(found[name])
            if budget < 0:
                raise LimitError(
                    f"metadata of more than {limits.max_metadata_bytes:,} bytes; "
                    "raise max_metadata_bytes if you trust it"
                )
        return cls(**found)


def _inflate(stored: memoryview, budget: int) -> bytes:
    """Return `stored` inflated, but never more than `budget` + 1 bytes of it."""
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(stored, max(budget, 0) + 1)
    except zlib.error:
        raise CorruptFileError("metadata is damaged: a chunk doesn't inflate") from None
    if len(raw) <= budget and (not stream.eof or stream.unused_data):
        raise CorruptFileError("metadata is damaged: a chunk is cut short")
    return raw
