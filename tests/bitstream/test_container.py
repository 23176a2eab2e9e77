"""What goes into a file comes out; overhead; the parts can be read alone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from deepsic.bitstream import (
    Container,
    Header,
    Label,
    Layout,
    Semantics,
    info,
    pack,
    read_header,
    read_semantics,
    unpack,
    verify,
)
from deepsic.errors import CorruptFileError, LimitError, UsageError
from deepsic.limits import Limits

from .strategies import containers

HEADER = Header(width=768, height=512, model_id=b"modelid!", quality=37)


@given(containers())
@settings(max_examples=200, deadline=None)
def test_round_trip(container: Container) -> None:
    blob = pack(container)
    assert unpack(blob) == container
    verify(blob)
    assert pack(unpack(blob)) == blob


@pytest.mark.parametrize(
    ("length", "overhead"), [(0, 28), (100, 28), (16_000, 29), (2_000_000, 30)]
)
def test_overhead_of_one_tile_is_at_most_30_bytes(length: int, overhead: int) -> None:
    blob = pack(Container(header=HEADER, tiles=(bytes(length),)))
    assert len(blob) - length == overhead <= 30


def test_five_labels_fit_in_the_first_64_bytes() -> None:
    labels = [
        Label("English springer", "n02102040", 0.9),
        Label("golden retriever", "n02099601", 0.05),
        Label("tench", "n01440764", 0.02),
        Label("chain saw", "n03000684", 0.01),
        Label("toilet tissue", "n15075141", 0.01),
    ]
    blob = pack(Container(header=HEADER, tiles=(bytes(9999),), semantics=Semantics.of(labels)))
    start = blob[:64]
    assert read_header(start) == HEADER
    stored = read_semantics(start)
    assert stored is not None
    assert [(label.name, label.wnid) for label in stored.labels] == [
        (label.name, label.wnid) for label in labels
    ]
    for label, kept in zip(labels, stored.labels, strict=True):
        assert kept.probability == pytest.approx(label.probability, abs=0.004)


def test_labels_are_read_where_the_image_is_damaged() -> None:
    semantics = Semantics.of([Label("tench", "n01440764", 1.0)])
    blob = bytearray(pack(Container(header=HEADER, tiles=(bytes(500),), semantics=semantics)))
    blob[-100] ^= 1
    assert read_semantics(bytes(blob)) == semantics
    assert info(bytes(blob)).labels == semantics.labels
    with pytest.raises(CorruptFileError, match="tile 0 is damaged"):
        verify(bytes(blob))


def test_one_tile_is_read_alone_beside_a_damaged_one() -> None:
    header = Header(width=200, height=100, model_id=bytes(8), tile_log2=6)
    tiles = tuple(bytes([index]) * (10 + index) for index in range(8))
    blob = bytearray(pack(Container(header=header, tiles=tiles)))
    layout = Layout.of(bytes(blob))
    blob[layout.tiles[3][0]] ^= 0x40
    damaged = bytes(blob)
    layout = Layout.of(damaged)
    assert header.grid == (2, 4)
    assert [layout.tile(damaged, index) for index in (0, 2, 7)] == [tiles[0], tiles[2], tiles[7]]
    with pytest.raises(CorruptFileError, match="tile 3"):
        layout.tile(damaged, 3)


def test_info_adds_up() -> None:
    header = Header(width=100, height=50, model_id=bytes(range(8)), gray=True, alpha=True)
    blob = pack(Container(header=header, tiles=(bytes(40),), alpha=b"alpha", exif=b"exif"))
    facts = info(blob)
    assert (facts.width, facts.height, facts.mode) == (100, 50, "LA")
    assert facts.model_id == "0001020304050607"
    assert facts.model_name is None
    assert facts.bytes_total == len(blob)
    assert facts.bytes_picture == 44
    assert facts.bytes_metadata == len(blob) - 44 - 24
    assert facts.bpp == pytest.approx(8 * len(blob) / 5000)
    assert (facts.label_set, facts.labels) == (None, ())


def test_limits_hold_for_size_bytes_and_metadata() -> None:
    blob = pack(Container(header=HEADER, tiles=(b"",), icc=bytes(100_000)))
    assert len(blob) < 300  # deflated: the limit is on what it becomes
    assert len(unpack(blob).icc or b"") == 100_000
    with pytest.raises(LimitError, match="pixels"):
        unpack(blob, Limits(max_pixels=1000))
    with pytest.raises(LimitError, match="bytes"):
        unpack(blob, Limits(max_input_bytes=20))
    with pytest.raises(LimitError, match="metadata"):
        unpack(blob, Limits(max_metadata_bytes=99_999))


@pytest.mark.parametrize(
    "change",
    [
        {"width": 0},
        {"height": 65_536},
        {"quality": 0},
        {"quality": 101},
        {"coder": 8},
        {"tile_log2": 5},
        {"tile_log2": 16},
        {"model_id": b"short"},
    ],
)
def test_headers_out_of_range_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Header(**{"width": 1, "height": 1, "model_id": bytes(8), **change})  # type: ignore[arg-type]


def test_streams_and_header_must_agree() -> None:
    with pytest.raises(UsageError, match="2 streams for 1 tiles"):
        Container(header=HEADER, tiles=(b"", b""))
    with pytest.raises(UsageError, match="alpha"):
        Container(header=HEADER, tiles=(b"",), alpha=b"x")
