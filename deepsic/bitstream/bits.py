"""Bit strings, most significant bit first: what the semantics part is packed into."""

from __future__ import annotations

from deepsic.errors import CorruptFileError

__all__ = ["BitReader", "BitWriter"]


class BitWriter:
    """Collects bits; `getvalue` pads the last byte with zeros.

    >>> bits = BitWriter()
    >>> bits.write(0b101, 3)
    >>> bits.getvalue().hex()
    'a0'
    """

    def __init__(self) -> None:
        self._value = 0
        self._count = 0

    def write(self, value: int, count: int) -> None:
        """Append the lowest `count` bits of `value`, highest first."""
        if not 0 <= value < 1 << count:
            raise ValueError(f"{value} doesn't fit in {count} bits")
        self._value = self._value << count | value
        self._count += count

    def getvalue(self) -> bytes:
        """Return all bits so far as whole bytes."""
        padding = -self._count % 8
        return (self._value << padding).to_bytes((self._count + padding) // 8, "big")


class BitReader:
    """Reads what `BitWriter` wrote; running out of bits raises `CorruptFileError`."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = len(data) * 8

    @property
    def left(self) -> int:
        """Bits not read yet, padding included."""
        return self._left

    def read(self, count: int) -> int:
        """Return the next `count` bits as an unsigned integer."""
        if count > self._left:
            raise CorruptFileError(f"semantics: {count} bits wanted, {self._left} are left")
        self._left -= count
        return self._value >> self._left & (1 << count) - 1
