"""The semantics part: what is in the image, in a few bytes, readable without a model.

    0  1  label set, 0 = names as text, 3 = names of a user's own classes
    1  1  bits 0-4 number of labels; bit 5 boxes; bit 6 depths; bit 7 reserved
    2  8  only for set 3: hash of these classes, `labels/custom.py`
    …  …  bit string, most significant bit first; for each label, most probable first:
            path bits                          `labels/tree.py`; for sets 0, 3: 8 bits length, UTF-8
            [5 bits: depth]                    only if bit 6 is set: the label is the class's
                                               ancestor at that depth, 0 is the root
            8 bits q: probability (q / 255)^2
            [4 x 10 bits: x0 y0 x1 y1]         only if bit 5 is set; fractions of width and height

A path narrows the WordNet hierarchy down (DeepSIC section IV-D): its first bits alone name a
coarser class, and a label may be an ancestor such as "dog" where the labeler is sure of no more.
The square gives small probabilities, which tell the runners-up apart, finer steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from deepsic.bitstream.bits import BitReader, BitWriter
from deepsic.bitstream.reader import Reader
from deepsic.errors import CorruptFileError, UnknownVersionError, UsageError
from deepsic.labels import SETS, LabelSet, custom_name, is_custom, label_set

__all__ = ["Box", "Label", "Semantics"]

Box = tuple[float, float, float, float]

_MAX_LABELS = 31
_BOXES, _DEPTHS, _RESERVED = 0x20, 0x40, 0x80
_BOX_STEPS = 1023
_TEXT = "text"
_TEXT_NUMBER, _CUSTOM_NUMBER = 0, 3
_HASH_BYTES = 8


@dataclass(frozen=True)
class Label:
    """One thing seen in an image."""

    name: str
    """In English, such as "English springer"."""
    wnid: str
    """WordNet id such as "n02102040"; empty where the label set has none."""
    probability: float
    """0 to 1."""
    box: Box | None = None
    """Left, top, right, bottom as fractions of width and height, 0 to 1."""
    label_set: str = ""
    """The user's own classes that it is one of, such as "custom-0123456789abcdef"; else empty."""


@dataclass(frozen=True)
class Semantics:
    """The labels of an image, most probable first, and the label set they come from.

    `label_set` is a name from `deepsic.labels.SETS`, that of a custom set, or "text" for labels of
    any other vocabulary. The last two are stored by name, without wnid.
    """

    label_set: str
    labels: tuple[Label, ...]

    @classmethod
    def of(cls, labels: Sequence[Label]) -> Semantics:
        """Return `labels`, most probable first, with the smallest set that holds them all.

        Raises:
            UsageError: something else than a sequence of `Label`.
        """
        if not isinstance(labels, Sequence) or not all(isinstance(x, Label) for x in labels):
            raise UsageError(f"labels: a list of `deepsic.Label` is due, not {labels!r}")
        ordered = tuple(sorted(labels, key=lambda label: -label.probability))
        for name in SETS:
            names = label_set(name)
            if labels and all(names.has_classes(label.wnid) for label in labels):
                return cls(name, ordered)
        own = {label.label_set for label in labels}
        return cls((own.pop() if len(own) == 1 else "") or _TEXT, ordered)

    def pack(self) -> bytes:
        """Return the part's bytes. Raises `UsageError` for what doesn't fit the format."""
        number, digest, names = _TEXT_NUMBER, b"", None
        if is_custom(self.label_set):
            number, digest = _CUSTOM_NUMBER, _digest_of(self.label_set)
        elif self.label_set != _TEXT:
            names = label_set(self.label_set)
            number = names.identity
        if len(self.labels) > _MAX_LABELS:
            raise UsageError(f"{len(self.labels)} labels; a file holds {_MAX_LABELS}")
        boxes = any(label.box for label in self.labels)
        coarse = names is not None and any(not names.is_class(label.wnid) for label in self.labels)
        bits = BitWriter()
        for label in self.labels:
            if names is None:
                _write_text(bits, label.name)
            else:
                _write_path(bits, names, label.wnid, coarse)
            bits.write(_quantise(label.probability), 8)
            if boxes:
                _write_box(bits, label.box)
        head = len(self.labels) | _BOXES * boxes | _DEPTHS * coarse
        return bytes((number, head)) + digest + bits.getvalue()

    @classmethod
    def unpack(cls, data: bytes | memoryview) -> Semantics:
        """Read a part whose CRC was checked.

        Raises:
            CorruptFileError: bits missing or reserved bits set.
            UnknownVersionError: a label set that this library doesn't have.
        """
        reader = Reader(data, "semantics")
        identity, head = reader.uint(1), reader.uint(1)
        if head & _RESERVED:
            raise CorruptFileError("semantics: a reserved bit is set: made by a newer writer?")
        name, names = _TEXT, None
        if identity == _CUSTOM_NUMBER:
            name = custom_name(bytes(reader.take(_HASH_BYTES)))
        elif identity != _TEXT_NUMBER:
            names = _set_of(identity)
            name = names.name
        bits = BitReader(reader.take(reader.left))
        labels = tuple(
            _read_label(bits, names, boxes=bool(head & _BOXES), coarse=bool(head & _DEPTHS))
            for _ in range(head & _MAX_LABELS)
        )
        if identity == _CUSTOM_NUMBER:
            labels = tuple(replace(label, label_set=name) for label in labels)
        return cls(name, labels)


def _set_of(identity: int) -> LabelSet:
    for name, number in SETS.items():
        if number == identity:
            return label_set(name)
    raise UnknownVersionError(f"label set {identity} isn't known here: update deepsic")


def _digest_of(custom: str) -> bytes:
    try:
        digest = bytes.fromhex(custom.rpartition("-")[2])
    except ValueError:
        digest = b""
    if custom_name(digest) != custom or len(digest) != _HASH_BYTES:
        raise UsageError(f"{custom!r} isn't the name of a custom label set")
    return digest


def _write_text(bits: BitWriter, name: str) -> None:
    text = name.encode()
    if len(text) > 255 or not name.isprintable():
        raise UsageError(
            f"label name {name[:40]!r} is over 255 bytes or has unprintable characters"
        )
    bits.write(len(text), 8)
    for byte in text:
        bits.write(byte, 8)


def _read_text(bits: BitReader) -> str:
    raw = bytes(bits.read(8) for _ in range(bits.read(8)))
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise CorruptFileError("semantics: a name isn't UTF-8") from None
    if not text.isprintable():  # names go to terminals and pages as they are
        raise CorruptFileError("semantics: a name has unprintable characters")
    return text


def _write_path(bits: BitWriter, names: LabelSet, wnid: str, coarse: bool) -> None:
    for bit in names.path_bits(wnid):
        bits.write(bit, 1)
    if coarse:
        bits.write(names[wnid].depth, 5)


def _write_box(bits: BitWriter, box: Box | None) -> None:
    for value in box or (0.0, 0.0, 1.0, 1.0):
        if not 0 <= value <= 1:
            raise UsageError(f"box {box} isn't in fractions of width and height, 0 to 1")
        bits.write(round(value * _BOX_STEPS), 10)


def _quantise(probability: float) -> int:
    if not 0 <= probability <= 1:
        raise UsageError(f"probability {probability} is outside 0..1")
    return round(255 * math.sqrt(probability))


def _read_label(bits: BitReader, names: LabelSet | None, *, boxes: bool, coarse: bool) -> Label:
    if names is None:
        name, wnid = _read_text(bits), ""
    else:
        node = names.walk(lambda: bits.read(1))
        if coarse:
            node = names.above(node.wnid, bits.read(5))
        name, wnid = node.name, node.wnid
    probability = (bits.read(8) / 255) ** 2
    box: Box | None = None
    if boxes:
        x0, y0, x1, y1 = (bits.read(10) / _BOX_STEPS for _ in range(4))
        box = x0, y0, x1, y1
    return Label(name, wnid, probability, box)
