"""JPEG XL's size and XMP, which its Pillow plugin gives only after decoding, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

__all__ = ["is_jpeg_xl", "size_of", "xmp_of"]

_BARE, _CONTAINER = b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_MOST_XMP, _MOST_BOXES = 1 << 24, 1000


def is_jpeg_xl(start: bytes) -> bool:
    """Whether a file begins like one."""
    return start.startswith((_BARE, _CONTAINER))


def size_of(file: IO[bytes]) -> tuple[int, int] | None:
    """Width and height by the header (ISO/IEC 18181-1, SizeHeader); None where there is none."""
    file.seek(0)
    start = file.read(14)
    if not start.startswith(_BARE):
        for kind, _ in _boxes(file):
            if kind in (b"jxlc", b"jxlp"):
                start = file.read(18)[4 if kind == b"jxlp" else 0 :]
                break
    return _size(int.from_bytes(start[2:], "little")) if start.startswith(_BARE) else None


def xmp_of(file: IO[bytes]) -> bytes | None:
    """XMP that isn't compressed."""
    return next((file.read(n) for kind, n in _boxes(file) if kind == b"xml " and n), None)


def _boxes(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """Each box's kind and content length, the file standing at its content."""
    at = 0
    for _ in range(_MOST_BOXES):
        file.seek(at)
        head = file.read(8)
        length, start = int.from_bytes(head[:4], "big"), 8
        if length == 1:  # its length follows, in 64 bits
            length, start = int.from_bytes(file.read(8), "big"), 16
        yield head[4:], min(max(length - start, 0), _MOST_XMP)
        if length < start:  # 0: the last box runs to the end
            return
        at += length


def _size(bits: int) -> tuple[int, int]:
    """The size in a codestream's bits behind its signature, the lowest first."""

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    def side(small: int) -> int:
        return 8 * (take(5) + 1) if small else take((9, 13, 18, 30)[take(2)]) + 1

    small = take(1)
    height = side(small)
    ratio = take(3)
    if not ratio:
        return side(small), height
    numerator, denominator = _RATIOS[ratio - 1]
    return height * numerator // denominator, height
