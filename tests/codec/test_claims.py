"""Headers that claim more than their file holds: refused before any work."""

from __future__ import annotations

import struct
import time
import zlib

import numpy as np
import pytest

from deepsic.bitstream import Container, Header, pack, unpack
from deepsic.codec import Codec
from deepsic.errors import CorruptFileError, DeepsicError
from deepsic.limits import DEFAULT_LIMITS
from tests.support.small_model import photograph


def claim(blob: bytes, width: int, height: int) -> bytes:
    """A sound file with another size in its header, and the checksum made right again."""
    out = bytearray(blob)
    out[15:19] = struct.pack("<HH", width, height)
    at = 19
    while out[at] & 128:
        at += 1
    out[at + 1 : at + 5] = zlib.crc32(bytes(out[: at + 1])).to_bytes(4, "little")
    return bytes(out)


@pytest.mark.parametrize(
    "size", [(2000, 2000), (64, 62500), (62500, 64), (65535, 200), (1537, 1), (1, 1537)]
)
def test_tiles_that_no_encoder_writes_are_refused_at_once(
    codec: Codec, size: tuple[int, int]
) -> None:
    blob = claim(codec.encode(photograph(32, 48), quality=20), *size)
    start = time.process_time()
    with pytest.raises(CorruptFileError, match="no encoder writes"):
        codec.decode(blob)
    assert time.process_time() - start < 0.5


@pytest.mark.parametrize(
    ("log2", "size"), [(6, (512, 512)), (6, (257, 1)), (11, (3000, 100)), (15, (65535, 4))]
)
def test_other_tiles(codec: Codec, log2: int, size: tuple[int, int]) -> None:
    header = Header(width=size[0], height=size[1], model_id=codec.identity, tile_log2=log2)
    blob = pack(Container(header=header, tiles=(b"stream",) * header.tile_count))
    with pytest.raises(CorruptFileError, match="no encoder writes"):
        codec.decode(blob)


def test_what_is_written_is_read(codec: Codec) -> None:
    for height, width in ((1, 1536), (1, 1537), (1600, 8)):
        blob = codec.encode(photograph(height, width), quality=10)
        assert codec.decode(blob).size == (width, height)


def test_small_parts_are_checked_before_the_costly_one(
    codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    rgba = np.dstack([photograph(40, 50), np.full((40, 50), 9, np.uint8)])
    whole = unpack(codec.encode(rgba, quality=20), DEFAULT_LIMITS)
    damaged = [
        pack(Container(header=whole.header, tiles=whole.tiles, alpha=b"no PNG")),
        pack(Container(header=whole.header, tiles=whole.tiles, alpha=whole.alpha, exif=b"x" * 90)),
    ]
    damaged[1] = damaged[1][:-9] + b"!" + damaged[1][-8:]

    def fail(*_: object) -> None:
        raise AssertionError("pixels were decoded first")

    monkeypatch.setattr("deepsic.codec.Drawing.pixels", fail)
    for blob in damaged:
        with pytest.raises(DeepsicError):
            codec.decode(blob)
