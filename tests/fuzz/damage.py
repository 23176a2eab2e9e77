"""Damage to files, by seed: always the same for one seed; and what it costs to meet it."""

from __future__ import annotations

import random
import re
import struct
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Cost", "damaged", "measured"]

_TELLING = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)
"""Bytes that make lengths, counts and offsets absurd."""


def damaged(data: bytes, seed: int) -> bytes:
    """`data` with one to four wounds: bits, bytes, numbers, pieces lost, doubled or added."""
    dice = random.Random(seed)
    out = bytearray(data)
    # Half of the wounds hit the first bytes, where formats keep what they are about.
    for _ in range(dice.randint(1, 4)):
        near = len(out) if dice.random() < 0.5 else min(len(out), 96)
        at = dice.randrange(max(near, 1))
        count = dice.randint(1, 8)
        match dice.randrange(7):
            case 0:
                out[at : at + 1] = bytes([out[at] ^ 1 << dice.randrange(8)]) if out else b""
            case 1:
                out[at : at + 1] = dice.randbytes(1)
            case 2:
                size = dice.choice((1, 2, 4))
                out[at : at + size] = bytes([dice.choice(_TELLING)]) * size
            case 3:
                del out[at : at + count]
            case 4:
                out[at:at] = dice.randbytes(count)
            case 5:
                out[at:at] = out[at : at + 16 * count]
            case _:
                del out[dice.randrange(len(out) + 1) :]
    return _png_checksums(bytes(out)) if dice.random() < 0.5 else bytes(out)


def _png_checksums(data: bytes) -> bytes:
    """A PNG whose chunks' checksums are right again, so that damage gets past them."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    out, at = bytearray(data), 8
    while at + 12 <= len(out):
        end = at + 8 + struct.unpack_from(">I", out, at)[0]
        if end + 4 > len(out):
            break
        out[end : end + 4] = zlib.crc32(out[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(out)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a call took."""

    seconds: float
    """Of processor time, all threads together."""
    bytes: int
    """By which the process grew at most, while it lasted; 0 where Linux doesn't say."""


def measured(call: Callable[[], object]) -> Cost:
    """The cost of a call."""
    if _RESET.exists():
        _RESET.write_text("5")  # the peak starts anew
    before, start = _resident("VmRSS"), time.process_time()
    call()
    seconds = time.process_time() - start
    return Cost(seconds=seconds, bytes=_resident("VmHWM") - before)


_RESET, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def _resident(which: str) -> int:
    """Bytes in memory now (VmRSS) or at most (VmHWM)."""
    if not _STATUS.exists():
        return 0
    found = re.search(rf"{which}:\s+(\d+) kB", _STATUS.read_text())
    return int(found[1]) * 1024 if found else 0
