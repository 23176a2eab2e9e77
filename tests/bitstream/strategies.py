"""Hypothesis strategies for whole containers."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from deepsic.bitstream import Container, Header, Label, Semantics
from deepsic.labels import custom_name, label_set

_CLASSES = label_set("imagenet1k").classes()
_probability = st.integers(0, 255).map(lambda q: (q / 255) ** 2)
_tenth_bit = st.integers(0, 1023).map(lambda q: q / 1023)
_boxes = st.one_of(st.none(), st.tuples(_tenth_bit, _tenth_bit, _tenth_bit, _tenth_bit))
_metadata = st.one_of(st.none(), st.binary(max_size=300))


@st.composite
def labels(draw: st.DrawFn, *, boxes: bool) -> Label:
    node = draw(st.sampled_from(_CLASSES))
    box = draw(_boxes.filter(bool)) if boxes else None
    return Label(node.name, node.wnid, draw(_probability), box)


@st.composite
def text_labels(draw: st.DrawFn) -> Label:
    name = draw(st.text(max_size=30).filter(str.isprintable))
    return Label(name, "", draw(_probability))


@st.composite
def semantics(draw: st.DrawFn) -> Semantics:
    if draw(st.booleans()):
        own = custom_name(draw(st.binary(min_size=8, max_size=8)))
        found = draw(st.lists(text_labels(), max_size=5))
        return Semantics(own, tuple(replace(label, label_set=own) for label in found))
    if draw(st.booleans()):
        return Semantics("text", tuple(draw(st.lists(text_labels(), max_size=5))))
    boxes = draw(st.booleans())
    found = draw(st.lists(labels(boxes=boxes), max_size=8))
    return Semantics("imagenet1k", tuple(found))


@st.composite
def containers(draw: st.DrawFn) -> Container:
    header = Header(
        width=draw(st.integers(1, 400)),
        height=draw(st.integers(1, 400)),
        model_id=draw(st.binary(min_size=8, max_size=8)),
        quality=draw(st.integers(1, 100)),
        tile_log2=draw(st.sampled_from((0, 6, 7, 8, 15))),
        coder=draw(st.integers(0, 7)),
        gray=draw(st.booleans()),
        alpha=draw(st.booleans()),
        sixteen_bit=draw(st.booleans()),
    )
    tiles = [draw(st.binary(max_size=40)) for _ in range(header.tile_count)]
    return Container(
        header=header,
        tiles=tuple(tiles),
        semantics=draw(st.one_of(st.none(), semantics())),
        alpha=draw(st.binary(max_size=60)) if header.alpha else None,
        exif=draw(_metadata),
        icc=draw(_metadata),
        xmp=draw(_metadata),
    )
