"""Writes the golden files of the codec: run once for each format version, never again.

    python -m tests.golden.make_codec

A small untrained model, files that it wrote, the SHA-256 of the symbols in each, and the decoded
image as PNG. `test_codec_files.py` decodes them for ever.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from deepsic import weights
from deepsic.bitstream import Label, unpack
from deepsic.codec import Codec
from deepsic.models import registry
from deepsic.models.sic.engine import SicEngine
from deepsic.models.sic.model_file import packing
from deepsic.models.sic.wavelet import bands
from deepsic.models.tiles import tiling
from deepsic.models.tiles.tiling import tiles
from tests.support.small_model import photograph, small_net

HERE = Path(__file__).parent / "codec"


def symbols_digest(codec: Codec, blob: bytes) -> str:
    """SHA-256 of all latents of a file, in sixteenths of a step."""
    container = unpack(blob)
    head = container.header
    digest, engine = hashlib.sha256(), registry.tuned(codec.engine, head.coder)
    side = 1 << head.tile_log2 if head.tile_log2 else 0
    grid = tiles(head.height, head.width, side)
    for tile, stream in zip(grid, container.tiles, strict=True):
        y8, y16 = engine.decode(stream, *tile.padded, head.quality)[:2]
        for y in (bands.whole8(y8) if isinstance(engine, SicEngine) else y8, y16):
            digest.update(np.round(y * 16).astype("<i4").tobytes())
    return digest.hexdigest()


def main() -> None:
    """Write everything."""
    HERE.mkdir(exist_ok=True)
    path = HERE / "small.safetensors"
    weights.write(path, packing.pack(small_net(), [photograph(96, 128)], qualities=(30, 80)))
    codec = Codec.load(path, device="cpu")
    labels = [Label("English springer", "n02102040", 0.9)]
    files = {
        "v1-low": codec.encode(photograph(90, 130), quality=15),
        "v1-high": codec.encode(photograph(90, 130), quality=85),
        "v1-labels": codec.encode(photograph(33, 47, 2), quality=50, labels=labels),
        "v1-one-pixel": codec.encode(photograph(1, 1), quality=50),
    }
    tiling.ONE_TILE, tiling.TILE_LOG2 = 64, 6
    files["v1-tiles"] = codec.encode(photograph(100, 150, 3), quality=60)
    facts = {}
    for name, blob in files.items():
        (HERE / f"{name}.sic").write_bytes(blob)
        codec.decode(blob).save(HERE / f"{name}.png", optimize=True)
        facts[name] = {"bytes": len(blob), "symbols": symbols_digest(codec, blob)}
    (HERE / "files.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
