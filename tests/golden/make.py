"""Make the golden containers of a format version: run once, when the version is new.

    python -m tests.golden.make

They are decoded for ever: a test that fails on them means that the format broke, not the file.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deepsic.bitstream import Container, Header, Label, Semantics, info, pack, unpack
from deepsic.labels import class_set

FOLDER = Path(__file__).parent
MODEL = bytes(range(8))
SPRINGER = Label("English springer", "n02102040", 0.9)
LHASA = Label("Lhasa", "n02098413", 0.05)


def stream(count: int, seed: int) -> bytes:
    """Return `count` bytes that look like a stream and are the same on every machine."""
    blocks = (
        hashlib.sha256(bytes((seed, i & 255, i >> 8))).digest() for i in range(count // 32 + 1)
    )
    return b"".join(blocks)[:count]


def containers() -> dict[str, Container]:
    """Return one container for each corner of the format."""
    small = Header(width=768, height=512, model_id=MODEL, quality=50, coder=1)
    tiled = Header(width=65_535, height=300, model_id=MODEL, quality=100, tile_log2=15, gray=True)
    rich = Header(
        width=200, height=130, model_id=MODEL, quality=1, tile_log2=6, alpha=True, sixteen_bit=True
    )
    boxed = (
        Label("person", "", 0.8, (0.125, 0.25, 0.5, 1.0)),
        Label("Straße", "", 0.3, (0.0, 0.0, 1.0, 0.5)),
    )
    parts = class_set(["Mutter", "Schraube", "Unterlegscheibe"])
    own = (
        Label("Schraube", "", 0.7, label_set=parts),
        Label("Mutter", "", 0.2, label_set=parts),
    )
    dog = Label("dog", "n02084071", 0.6)
    return {
        "plain": Container(header=small, tiles=(stream(500, 0),)),
        "labels": Container(
            header=small, tiles=(stream(200, 1),), semantics=Semantics.of([SPRINGER, LHASA])
        ),
        "imagenette": Container(
            header=small, tiles=(stream(100, 2),), semantics=Semantics.of([SPRINGER])
        ),
        "ancestor": Container(header=small, tiles=(b"",), semantics=Semantics.of([dog, LHASA])),
        "custom": Container(header=small, tiles=(stream(60, 5),), semantics=Semantics.of(own)),
        "tiles": Container(header=tiled, tiles=(stream(300, 3), stream(20_000, 4))),
        "rich": Container(
            header=rich,
            tiles=tuple(stream(10 * i, i) for i in range(12)),
            semantics=Semantics.of(boxed),
            alpha=stream(77, 20),
            exif=b"MM\0*" + bytes(40),
            icc=bytes(3000),
            xmp=b"<x:xmpmeta/>",
        ),
    }


def describe(blob: bytes) -> dict[str, Any]:
    """Return everything that a reader gets out of a file, as plain values."""

    def digest(part: bytes | None) -> str | None:
        return None if part is None else hashlib.sha256(part).hexdigest()[:16]

    found = unpack(blob)
    header = asdict(found.header) | {"model_id": found.header.model_id.hex()}
    labels = [
        [label.name, label.wnid, round(label.probability, 6), label.box and list(label.box)]
        for label in info(blob).labels
    ]
    others = {name: digest(getattr(found, name)) for name in ("alpha", "exif", "icc", "xmp")}
    tiles = [digest(tile) for tile in found.tiles]
    return {
        "header": header,
        "label_set": info(blob).label_set,
        "labels": labels,
        "tiles": tiles,
    } | others


def main() -> None:
    """Write the files and what they hold."""
    expected = {}
    for name, container in containers().items():
        blob = pack(container)
        (FOLDER / f"v1-{name}.sic").write_bytes(blob)
        expected[f"v1-{name}.sic"] = describe(blob)
    (FOLDER / "containers.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
