"""Bytes in, numbers out: bounded reading of the byte layer's few primitive types.

Everything is little-endian. Whatever runs past the end raises `CorruptFileError`; nothing is
allocated from a length before that length was checked against the bytes that are there.
"""

from __future__ import annotations

import zlib

from deepsic.errors import CorruptFileError, counted

__all__ = ["MAX_VARINT", "Reader", "varint"]

MAX_VARINT = 0xFFFF_FFFF


def varint(value: int) -> bytes:
    """Return `value` (0 to 2^32 - 1) as LEB128: seven bits a byte, lowest first.

    >>> varint(300).hex()
    'ac02'
    """
    if not 0 <= value <= MAX_VARINT:
        raise ValueError(f"{value} doesn't fit in 32 bits")
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Reader:
    """A cursor over `data` that never reads past `end`.

    Args:
        data: the file, or the first bytes of it.
        what: the name of the part being read, for messages.
        position: first byte to read.
        end: one past the last byte that may be read; by default the end of `data`.
    """

    def __init__(
        self, data: bytes | memoryview, what: str, position: int = 0, end: int | None = None
    ) -> None:
        self.data = memoryview(data)
        self.what = what
        self.position = position
        self.end = len(self.data) if end is None else end

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return self.end - self.position

    def take(self, count: int) -> memoryview:
        """Return the next `count` bytes without copying them."""
        if count > self.left:
            raise CorruptFileError(
                f"truncated: {self.what} needs {counted(count, 'byte')} at offset "
                f"{self.position:,}, {max(self.left, 0):,} are left"
            )
        start = self.position
        self.position += count
        return self.data[start : self.position]

    def uint(self, size: int) -> int:
        """Return the next `size` bytes as an unsigned little-endian integer."""
        return int.from_bytes(self.take(size), "little")

    def varint(self) -> int:
        """Return the next LEB128 integer; longer than needed or above 32 bits is corrupt."""
        value = shift = 0
        while True:
            byte = self.uint(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 28:
                raise CorruptFileError(f"{self.what}: a length of more than 32 bits")
        if value > MAX_VARINT or (byte == 0 and shift > 0):
            raise CorruptFileError(f"{self.what}: a length that isn't in its shortest form")
        return value

    def check_crc(self, start: int) -> None:
        """Compare the CRC-32 of the bytes since `start` with the next four bytes."""
        actual = zlib.crc32(self.data[start : self.position])
        if self.uint(4) != actual:
            raise CorruptFileError(f"{self.what} is damaged: its checksum doesn't match")
