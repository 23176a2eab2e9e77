"""The whole `.sic` file: parts in, bytes out, and back.

    prefix     signature, header, semantics, CRC-32       `header.py`, `semantics.py`
    image    if there are n > 1 tiles: n - 1 varint lengths, CRC-32 of them;
               then every tile's stream followed by its CRC-32
    alpha      if flagged: varint length, stream, CRC-32 of both
    metadata   if flagged: chunks, CRC-32                 `metadata.py`

The last tile's length follows from the size of the image part, which the header gives, so a
one-tile file needs no table: 30 bytes of overhead for streams up to 2 MB, 29 below 16 kB.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

from deepsic.bitstream.header import Header, Prefix
from deepsic.bitstream.metadata import Metadata
from deepsic.bitstream.reader import MAX_VARINT, Reader, varint
from deepsic.bitstream.semantics import Semantics
from deepsic.errors import CorruptFileError, UsageError, counted
from deepsic.limits import DEFAULT_LIMITS, Limits

__all__ = ["Container", "Layout", "pack", "read_header", "read_semantics", "unpack", "verify"]


@dataclass(frozen=True, kw_only=True)
class Container:
    """A `.sic` file taken apart; streams are opaque here."""

    header: Header
    tiles: tuple[bytes, ...]
    """One stream a tile, in raster order."""
    semantics: Semantics | None = None
    alpha: bytes | None = None
    """Stream of the alpha channel."""
    exif: bytes | None = None
    icc: bytes | None = None
    xmp: bytes | None = None

    def __post_init__(self) -> None:
        if len(self.tiles) != self.header.tile_count:
            raise UsageError(f"{len(self.tiles)} streams for {self.header.tile_count} tiles")
        if (self.alpha is not None) != self.header.alpha:
            raise UsageError("header.alpha and the alpha stream contradict each other")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where every stream of a file lies, as (start, end) offsets; streams aren't checked yet.

    Made for decoding a region: read the layout, then only the tiles that the region touches.
    """

    prefix: Prefix
    tiles: list[tuple[int, int]] = field(repr=False)
    alpha: tuple[int, int] | None
    metadata: int | None
    """Offset of the metadata part, which runs to the end of the file."""

    @classmethod
    def of(cls, blob: bytes | memoryview, limits: Limits = DEFAULT_LIMITS) -> Layout:
        """Check header, limits and table of a whole file; read no stream.

        Raises:
            CorruptFileError: damaged, truncated, or with bytes after the end.
            UnknownVersionError: written by a newer format version.
            LimitError: larger than `limits` allow, in bytes or pixels.
        """
        limits.check_bytes(len(blob))
        prefix = Prefix.unpack(blob)
        limits.check_size(prefix.header.width, prefix.header.height)
        reader = Reader(blob, "image", prefix.size)
        reader.take(prefix.image_bytes)
        image_end = reader.position
        tiles = _tile_spans(blob, prefix, image_end)
        alpha = None
        if prefix.header.alpha:
            reader.what = "alpha"
            length = reader.varint()
            start = reader.position
            reader.take(length)
            alpha = start, reader.position
            reader.check_crc(image_end)
        if not prefix.has_metadata and reader.left:
            raise CorruptFileError(f"{counted(reader.left, 'byte')} after the end of the file")
        metadata = reader.position if prefix.has_metadata else None
        return cls(prefix=prefix, tiles=tiles, alpha=alpha, metadata=metadata)

    def tile(self, blob: bytes | memoryview, index: int) -> bytes:
        """Return the stream of tile `index` (raster order) after checking its CRC."""
        start, end = self.tiles[index]
        reader = Reader(blob, f"tile {index}", start, end + 4)
        stream = bytes(reader.take(end - start))
        reader.check_crc(start)
        return stream


def _tile_spans(blob: bytes | memoryview, prefix: Prefix, end: int) -> list[tuple[int, int]]:
    """Return (start, end) of every tile's stream inside the image part that ends at `end`."""
    count = prefix.header.tile_count
    # Before looping: every tile has a CRC, so a lie about the size can't make us build a long list.
    if count * 4 > prefix.image_bytes:
        raise CorruptFileError(
            f"image of {counted(prefix.image_bytes, 'byte')} can't hold {counted(count, 'tile')}"
        )
    reader = Reader(blob, "tile table", prefix.size, end)
    lengths = [reader.varint() for _ in range(count - 1)]
    if count > 1:
        reader.check_crc(prefix.size)
    last = reader.left - sum(lengths) - 4 * count
    if last < 0:
        raise CorruptFileError("tile table: the tiles together are longer than the image part")
    spans = []
    start = reader.position
    for length in (*lengths, last):
        spans.append((start, start + length))
        start += length + 4
    return spans


def pack(container: Container) -> bytes:
    """Return the file's bytes.

    Raises:
        UsageError: a value doesn't fit the format, such as more than 31 labels.
    """
    image = bytearray()
    for stream in container.tiles[:-1]:
        image += varint(len(stream))
    if len(container.tiles) > 1:
        image += _crc(image)
    for stream in container.tiles:
        image += stream + _crc(stream)
    if len(image) > MAX_VARINT:
        raise UsageError("image part of 4 GB or more doesn't fit the format")
    metadata = Metadata(exif=container.exif, icc=container.icc, xmp=container.xmp)
    start, semantics = Prefix(
        header=container.header,
        image_bytes=len(image),
        semantics=None if container.semantics is None else container.semantics.pack(),
        has_metadata=bool(metadata),
        size=0,
    ).pack()
    out = start + semantics
    out += _crc(out) + image
    if container.alpha is not None:
        alpha = varint(len(container.alpha)) + container.alpha
        out += alpha + _crc(alpha)
    return out + metadata.pack() if metadata else out


def unpack(blob: bytes | memoryview, limits: Limits = DEFAULT_LIMITS) -> Container:
    """Take a file apart and check every CRC.

    Raises:
        CorruptFileError: damaged, truncated, or with bytes after the end.
        UnknownVersionError: written by a newer format version, or with newer label sets.
        LimitError: larger than `limits` allow, in bytes, pixels or metadata.
    """
    layout = Layout.of(blob, limits)
    prefix = layout.prefix
    view = memoryview(blob)
    metadata = Metadata()
    if layout.metadata is not None:
        metadata = Metadata.unpack(view, layout.metadata, limits)
    return Container(
        header=prefix.header,
        semantics=None if prefix.semantics is None else Semantics.unpack(prefix.semantics),
        tiles=tuple(layout.tile(view, index) for index in range(len(layout.tiles))),
        alpha=None if layout.alpha is None else bytes(view[slice(*layout.alpha)]),
        exif=metadata.exif,
        icc=metadata.icc,
        xmp=metadata.xmp,
    )


def read_header(start: bytes | memoryview) -> Header:
    """Return the header from the first bytes of a file; the rest may be missing or damaged.

    The first 64 bytes are nearly always enough, `PREFIX_BYTES` always.

    Raises:
        CorruptFileError: header or semantics damaged, or `start` too short.
        UnknownVersionError: written by a newer format version.
    """
    return Prefix.unpack(start).header


def read_semantics(start: bytes | memoryview) -> Semantics | None:
    """Return the stored labels from the first bytes of a file, or None if it has none.

    Raises as `read_header`.
    """
    stored = Prefix.unpack(start).semantics
    return None if stored is None else Semantics.unpack(stored)


def verify(blob: bytes | memoryview, limits: Limits = DEFAULT_LIMITS) -> None:
    """Check every CRC and every length without a model; return nothing if all is well.

    Raises as `unpack`.
    """
    unpack(blob, limits)


def _crc(data: bytes | bytearray) -> bytes:
    return zlib.crc32(data).to_bytes(4, "little")
