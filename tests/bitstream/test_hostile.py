"""Damaged and hostile files end in named errors, fast and without memory."""

from __future__ import annotations

import contextlib
import random
import time
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepsic.bitstream import (
    Container,
    Header,
    Label,
    Semantics,
    info,
    pack,
    read_semantics,
    unpack,
)
from deepsic.errors import CorruptFileError, DeepsicError, LimitError, UnknownVersionError
from deepsic.limits import Limits

NAMED = (CorruptFileError, UnknownVersionError)
LABELS = [Label("tench", "n01440764", 0.9, (0.1, 0.2, 0.3, 0.4))]
HEADER = Header(width=150, height=100, model_id=b"modelid!", tile_log2=6, alpha=True)
FULL = pack(
    Container(
        header=HEADER,
        tiles=tuple(bytes([i]) * (20 + i) for i in range(6)),
        semantics=Semantics.of(LABELS),
        alpha=bytes(30),
        exif=b"MM\0*exif",
        icc=bytes(300),
        xmp=b"<xmp/>",
    )
)
PLAIN = pack(Container(header=Header(width=9, height=9, model_id=bytes(8)), tiles=(b"stream",)))


def with_crc(start: bytes) -> bytes:
    """Return a file start whose checksum is right, whatever it says."""
    return start + zlib.crc32(start).to_bytes(4, "little")


@pytest.mark.parametrize("blob", [FULL, PLAIN], ids=["full", "plain"])
def test_truncation_at_every_offset(blob: bytes) -> None:
    for length in range(len(blob)):
        with pytest.raises(NAMED):
            unpack(blob[:length])


@pytest.mark.parametrize("blob", [FULL, PLAIN], ids=["full", "plain"])
def test_every_flipped_bit(blob: bytes) -> None:
    for bit in range(8 * len(blob)):
        damaged = bytearray(blob)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(NAMED):
            unpack(bytes(damaged))


def test_bytes_after_the_end() -> None:
    for blob in (FULL, PLAIN):
        with pytest.raises(CorruptFileError):
            unpack(blob + b"\0")


@pytest.mark.parametrize(
    "blob", [b"", b"S", b"SIC", b"SIC\x01", b"\xff\xd8\xff\xe0 a JPEG", bytes(1000)]
)
def test_other_files(blob: bytes) -> None:
    with pytest.raises(CorruptFileError):
        unpack(blob)
    with pytest.raises(CorruptFileError):
        info(blob)


def test_newer_version() -> None:
    with pytest.raises(UnknownVersionError, match="version 2"):
        unpack(b"SIC\x82" + PLAIN[4:])


@pytest.mark.parametrize(("offset", "bit"), [(4, 7), (5, 7), (6, 5)])
def test_reserved_bits_are_rejected(offset: int, bit: int) -> None:
    start = bytearray(PLAIN[:20])
    start[offset] |= 1 << bit
    with pytest.raises(CorruptFileError, match="reserved"):
        unpack(with_crc(bytes(start)) + PLAIN[24:])


@pytest.mark.parametrize("bit", [6, 7])
def test_unused_bits_are_ignored(bit: int) -> None:
    start = bytearray(PLAIN[:20])
    start[6] |= 1 << bit
    assert unpack(with_crc(bytes(start)) + PLAIN[24:]) == unpack(PLAIN)


@pytest.mark.parametrize("tile_log2", [0, 6, 15])
def test_forty_bytes_that_claim_65535_squared(tile_log2: int) -> None:
    start = b"SIC\x81" + bytes((50, tile_log2, 0)) + bytes(8) + b"\xff" * 4
    blob = (with_crc(start + bytes((12,))) + bytes(40))[:40]
    tracemalloc.start()
    before = time.perf_counter()
    with pytest.raises(LimitError):
        unpack(blob)
    with pytest.raises(CorruptFileError):  # the limit lifted, the tiles still can't be there
        unpack(blob, Limits(max_pixels=2**33))
    assert time.perf_counter() - before < 0.1
    assert tracemalloc.get_traced_memory()[1] < 200_000
    tracemalloc.stop()


def test_lengths_that_lie() -> None:
    fixed = b"SIC\x81" + bytes((50, 0, 0)) + bytes(8) + b"\x09\0\x09\0"
    huge = b"\xff\xff\xff\xff\x0f"
    for start in (
        with_crc(fixed + huge),  # image of 4 GB
        with_crc(fixed + b"\xff\xff\xff\xff\x7f"),  # more than 32 bits
        with_crc(fixed + b"\x80\x80\x80\x80\x80\x01"),
        with_crc(fixed + b"\x8a\x00"),  # not the shortest form
        with_crc(fixed + b"\x03"),  # too short for one checksum
        fixed[:6] + b"\x08" + fixed[7:] + b"\x0a" + huge,  # semantics of 4 GB
    ):
        with pytest.raises(CorruptFileError):
            unpack(start + bytes(10))


def test_unknown_label_set_and_unprintable_names() -> None:
    def blob(semantics: bytes) -> bytes:
        fixed = b"SIC\x81" + bytes((50, 0, 8)) + bytes(8) + b"\x09\0\x09\0\x0a"
        return with_crc(fixed + bytes((len(semantics),)) + semantics) + PLAIN[24:]

    assert read_semantics(blob(b"\0\0")) == Semantics("text", ())
    with pytest.raises(UnknownVersionError, match="label set 99"):
        read_semantics(blob(b"\x63\0"))
    with pytest.raises(CorruptFileError, match="reserved"):
        read_semantics(blob(b"\0\x80"))
    with pytest.raises(CorruptFileError, match="unprintable"):
        read_semantics(blob(b"\0\x01\x02\x1b[\xff"))
    with pytest.raises(CorruptFileError, match="UTF-8"):
        read_semantics(blob(b"\0\x01\x02\xff\xff\xff"))
    with pytest.raises(CorruptFileError, match="bits"):
        read_semantics(blob(b"\0\x01\x40a"))


def test_metadata_bombs_stop_at_the_limit() -> None:
    bomb = zlib.compress(bytes(50_000_000), 9)
    chunk = bytes((0x42,)) + b"\xff\xff\xff\xff\x0f"
    assert len(bomb) < 60_000
    start = b"SIC\x81" + bytes((50, 0, 0x10)) + PLAIN[7:20]
    length = bytes((len(bomb) & 0x7F | 0x80, len(bomb) >> 7 & 0x7F | 0x80, len(bomb) >> 14))
    body = with_crc(bytes((0x42,)) + length + bomb)
    tracemalloc.start()
    with pytest.raises(LimitError, match="metadata"):
        unpack(with_crc(start) + PLAIN[24:] + body, Limits(max_metadata_bytes=100_000))
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()
    with pytest.raises(CorruptFileError):
        unpack(with_crc(start) + PLAIN[24:] + with_crc(chunk))


@given(st.binary(max_size=200))
@settings(max_examples=500, deadline=None)
def test_noise_behind_a_good_header(noise: bytes) -> None:
    """Noise with correct checksums reaches the parsers behind them."""
    start = b"SIC\x81" + noise[:16] + b"\x04"
    for blob in (with_crc(start), with_crc(start) + noise, with_crc(b"SIC\x81" + noise)):
        with contextlib.suppress(DeepsicError):
            unpack(blob)


def _mutate(blob: bytes, dice: random.Random) -> bytes:
    out = bytearray(blob)
    for _ in range(dice.randint(1, 4)):
        place = dice.randrange(len(out))
        kind = dice.randrange(4)
        if kind == 0:
            out[place] ^= 1 << dice.randrange(8)
        elif kind == 1:
            out[place] = dice.randrange(256)
        elif kind == 2:
            del out[place : place + dice.randint(1, 8)]
        else:
            out[place:place] = dice.randbytes(dice.randint(1, 8))
        if not out:
            break
    return bytes(out)


def _check_mutation(seed: int) -> None:
    dice = random.Random(seed)
    damaged = _mutate(dice.choice((FULL, PLAIN)), dice)
    if damaged in (FULL, PLAIN):
        return
    with pytest.raises(DeepsicError):
        unpack(damaged)
    for reader in (info, read_semantics):
        with contextlib.suppress(DeepsicError):
            reader(damaged)


def test_mutations() -> None:
    for seed in range(1000):
        _check_mutation(seed)


@pytest.mark.slow
@given(st.integers(1000, 2**40))
@settings(max_examples=10_000, deadline=None)
def test_ten_thousand_mutations(seed: int) -> None:
    _check_mutation(seed)
