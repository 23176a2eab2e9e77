"""Tiles whose halves have a stream each."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepsic import weights
from deepsic.bitstream import pack, unpack
from deepsic.bitstream.reader import Reader, varint
from deepsic.codec import Codec
from deepsic.errors import CorruptFileError, UsageError
from deepsic.models import registry
from deepsic.models.quality import HALVES, HIDING
from tests.reference.decoder import StreamDecoder
from tests.support.small_model import photograph


def test_the_picture_is_that_of_one_stream(two_tunings: Path) -> None:
    rgb = photograph(90, 130, seed=2)
    for tune in ("psnr", "ssim"):
        codec, other = (
            Codec.load(two_tunings, device="cpu", tune=tune, streams=count) for count in (1, 2)
        )
        one, two = (each.encode(rgb, quality=60) for each in (codec, other))
        assert unpack(two).header.coder == HALVES + unpack(one).header.coder
        assert np.array_equal(codec.decode(two), codec.decode(one))
        assert np.array_equal(codec.decode(two, scale=1 / 4), codec.decode(one, scale=1 / 4))
        assert len(two) < 1.02 * len(one) + 8


def test_large_images_have_two_where_the_model_knows_them() -> None:
    engine = Codec.load("sic", device="cpu").engine
    assert registry.coder_of(engine, 1, registry.LARGE - 1) == HIDING + 1
    assert registry.coder_of(engine, 1, registry.LARGE) == HALVES + HIDING + 1
    assert registry.coder_of(engine, 1, registry.LARGE, fitted=True) == HALVES + 1
    assert registry.coder_of(engine, 1, registry.LARGE, 1) == HIDING + 1
    first = Codec.load("sic-1", device="cpu").engine
    assert registry.coder_of(first, 0, registry.LARGE) == 0
    blob = Codec.load("sic", device="cpu").encode(photograph(512, 512), quality=5, labels=False)
    assert unpack(blob).header.coder == HALVES + HIDING + 1


@pytest.mark.parametrize(
    ("model", "streams", "what"),
    [
        ("sic-1", 2, "'sic-1' has one stream in each tile, not 2"),
        ("sic", 3, "'sic' has 1 or 2 streams in each tile, not 3"),
        ("sic", 0, "not 0"),
        ("sic", "2", "not '2'"),
    ],
)
def test_other_numbers_are_refused(model: str, streams: Any, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        Codec.load(model, device="cpu", streams=streams)


def _parts(stream: bytes) -> tuple[bytes, bytes]:
    reader = Reader(stream, "tile")
    first = bytes(reader.take(reader.varint()))
    return first, bytes(reader.take(reader.left))


@pytest.mark.parametrize("change", ["first longer", "second longer", "empty", "past the end"])
def test_streams_that_do_not_fit_are_named(serial: Path, change: str) -> None:
    codec = Codec.load(serial, device="cpu", streams=2)
    file = unpack(codec.encode(photograph(64, 96), quality=60))
    first, second = _parts(file.tiles[0])
    changed = {
        "first longer": varint(len(first) + 9) + first + bytes(9) + second,
        "second longer": varint(len(first)) + first + second + bytes(9),
        "empty": b"",
        "past the end": varint(len(first) + len(second) + 1) + first + second,
    }[change]
    with pytest.raises(CorruptFileError, match=r"after the last symbol|truncated"):
        codec.decode(pack(replace(file, tiles=(changed,))))


@pytest.mark.parametrize("coder", [0, HIDING, HALVES, HALVES + HIDING])
@pytest.mark.parametrize("start", [b"", b"\xff" * 8, b"\xff" * 40])
def test_the_plain_decoder_agrees_on_what_nobody_writes(
    serial: Path, coder: int, start: bytes
) -> None:
    engine = registry.tuned(Codec.load(serial, device="cpu").engine, coder)
    noise = start + random.Random(7).randbytes(70)
    stream = varint(len(noise)) + noise + noise[::-1] if coder >= HALVES else noise
    y8, y16, _ = engine.decode(stream, 32, 64, 60)
    tensors = weights.read_arrays(serial).tensors
    hides, halves = bool(coder % HALVES), coder >= HALVES
    plain = StreamDecoder(tensors, stream, 32, 64, 60, parts=64, hides=hides, halves=halves)
    _, _, plain16, plain8 = plain.decode()
    assert np.array_equal(64 * y16, plain16)
    assert np.array_equal(64 * y8, plain8[..., : y8.shape[2]])
