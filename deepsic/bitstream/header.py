"""The first bytes of a `.sic` file: signature, header and where the other parts lie.

Byte layout (`docs/FORMAT.md` section 2), little-endian:

    0   4  signature "SIC", then 0x80 + version
    4   1  bits 0-6 quality 1..100; bit 7 reserved
    5   1  bits 0-3 log2 of the tile side or 0 for one tile; bits 4-6 coder; bit 7 reserved
    6   1  flags: gray, alpha, reduced from 16 bits, semantics, metadata, reserved, 2 unused
    7   8  model identity: the first bytes of the model file's SHA-256
    15  2  width      17  2  height      both in pixels, 1..65535
    19  …  varint: bytes of the image part
        …  varint: bytes of the semantics part, only if its flag is set
        …  semantics
        4  CRC-32 of everything before it
"""

from __future__ import annotations

from dataclasses import dataclass

from deepsic.bitstream.reader import Reader, varint
from deepsic.errors import CorruptFileError, UnknownVersionError, UsageError

__all__ = ["MAX_SEMANTICS", "PREFIX_BYTES", "SIGNATURE", "VERSION", "Header", "Prefix"]

SIGNATURE = b"SIC"
VERSION = 1
MAX_SEMANTICS = 4096
"""Most bytes that the semantics part may have."""
PREFIX_BYTES = 19 + 5 + 2 + MAX_SEMANTICS + 4
"""Most bytes that header and semantics can have together; fewer than 64 in a usual file."""

_GRAY, _ALPHA, _SIXTEEN, _SEMANTICS, _METADATA, _RESERVED = (1 << bit for bit in range(6))
_MIN_LOG2, _MAX_LOG2 = 6, 15


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a reader must know before anything else. Raises `UsageError` if out of range."""

    width: int
    """Pixels, 1 to 65535."""
    height: int
    """Pixels, 1 to 65535."""
    model_id: bytes
    """First 8 bytes of the SHA-256 of the model file that decodes the image."""
    quality: int = 50
    """1 (smallest file) to 100 (best image)."""
    tile_log2: int = 0
    """Tiles are squares of 2**tile_log2 pixels (6 to 15); 0: the image is one tile."""
    coder: int = 0
    """Which entropy coder and context model wrote the streams, 0 to 7."""
    gray: bool = False
    """The original had no colour."""
    alpha: bool = False
    """The file has an alpha stream."""
    sixteen_bit: bool = False
    """The original had 16 bits a channel; 8 were kept."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("width", 1, 0xFFFF),
            ("height", 1, 0xFFFF),
            ("quality", 1, 100),
            ("coder", 0, 7),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise UsageError(f"{name} {value} is out of range {low}..{high}")
        if self.tile_log2 and not _MIN_LOG2 <= self.tile_log2 <= _MAX_LOG2:
            raise UsageError(
                f"tile_log2 {self.tile_log2} is neither 0 nor {_MIN_LOG2}..{_MAX_LOG2}"
            )
        if len(self.model_id) != 8:
            raise UsageError(f"model identity has {len(self.model_id)} bytes instead of 8")

    @property
    def mode(self) -> str:
        """Pillow's name for the original's kind: L, LA, RGB or RGBA."""
        return ("L" if self.gray else "RGB") + ("A" if self.alpha else "")

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        if not self.tile_log2:
            return 1, 1
        side = 1 << self.tile_log2
        return -(-self.height // side), -(-self.width // side)

    @property
    def tile_count(self) -> int:
        """How many streams the image part has."""
        rows, columns = self.grid
        return rows * columns


@dataclass(frozen=True, kw_only=True)
class Prefix:
    """The header with the sizes that place the other parts."""

    header: Header
    image_bytes: int
    """Bytes of the image part, its table and checksums included."""
    semantics: bytes | None
    """The semantics part, undecoded; None: the file has none."""
    has_metadata: bool
    size: int
    """Bytes before the image part."""

    def pack(self) -> tuple[bytes, bytes]:
        """Return the bytes before the semantics part, and that part (its CRC is missing yet)."""
        head = self.header
        flags = (
            _GRAY * head.gray
            | _ALPHA * head.alpha
            | _SIXTEEN * head.sixteen_bit
            | _SEMANTICS * (self.semantics is not None)
            | _METADATA * self.has_metadata
        )
        fixed = bytes((head.quality, head.tile_log2 | head.coder << 4, flags))
        size = head.width.to_bytes(2, "little") + head.height.to_bytes(2, "little")
        start = SIGNATURE + bytes((0x80 + VERSION,)) + fixed + head.model_id + size
        start += varint(self.image_bytes)
        if self.semantics is None:
            return start, b""
        if len(self.semantics) > MAX_SEMANTICS:
            raise UsageError(
                f"labels of {len(self.semantics):,} bytes, {MAX_SEMANTICS:,} at most; store fewer"
            )
        return start + varint(len(self.semantics)), self.semantics

    @classmethod
    def unpack(cls, blob: bytes | memoryview) -> Prefix:
        """Read and check signature, header and the CRC over header and semantics."""
        reader = Reader(blob, "header")
        signature = bytes(blob[:3])
        if signature != SIGNATURE[: len(signature)] or not signature:
            raise CorruptFileError(
                f"not a .sic file: it starts with {bytes(blob[:4]).hex() or 'nothing'}"
            )
        reader.take(3)
        version = reader.uint(1)
        if version < 0x80:
            raise CorruptFileError(
                "damaged signature: high bits lost, maybe in a text-mode transfer"
            )
        if version != 0x80 + VERSION:
            raise UnknownVersionError(
                f"format version {version - 0x80}, this library reads {VERSION}: update deepsic"
            )
        quality, layout, flags = reader.uint(1), reader.uint(1), reader.uint(1)
        model_id = bytes(reader.take(8))
        width, height = reader.uint(2), reader.uint(2)
        image_bytes = reader.varint()
        semantics: bytes | None = None
        if flags & _SEMANTICS:
            length = reader.varint()
            if length > MAX_SEMANTICS:
                raise CorruptFileError(
                    f"semantics of {length:,} bytes: more than {MAX_SEMANTICS:,}"
                )
            semantics = bytes(reader.take(length))
        reader.check_crc(0)
        if quality & 0x80 or layout & 0x80 or flags & _RESERVED:
            raise CorruptFileError("a reserved bit of the header is set: made by a newer writer?")
        try:
            header = Header(
                width=width,
                height=height,
                model_id=model_id,
                quality=quality,
                tile_log2=layout & 0x0F,
                coder=layout >> 4,
                gray=bool(flags & _GRAY),
                alpha=bool(flags & _ALPHA),
                sixteen_bit=bool(flags & _SIXTEEN),
            )
        except UsageError as error:
            raise CorruptFileError(f"header: {error}") from None
        return cls(
            header=header,
            image_bytes=image_bytes,
            semantics=semantics,
            has_metadata=bool(flags & _METADATA),
            size=reader.position,
        )
