"""Section III-B: what trained contexts save over adaptive-only ones and over raw bits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepsic.codec import Codec
from deepsic.coding import binarisation, bit_planes, range_coder
from deepsic.errors import UsageError
from deepsic.image_io.load import load_image
from deepsic.models.fourstage.bits import bordered
from deepsic.models.fourstage.engine import FourStageEngine
from deepsic.models.tiles.tiling import pad
from pipelines.stage import console

__all__ = ["SETS", "compare_contexts"]

SETS = (128, 32, 8, 1)
"""Sets of fixed contexts that are tried: one for each channel, down to one for all."""


def _fixed_bytes(m: NDArray[np.int16], engine: FourStageEngine, sets: int, quality: int) -> int:
    """Stream with adaptive contexts by rule, all starting from even chances."""
    rest, _, *others = engine.tables.arrays()
    group = (np.arange(len(m)) * sets // len(m)).astype(np.int32)
    states = binarisation.fresh_states(np.full(bit_planes.FIXED_CONTEXTS, 32768, np.uint16))
    state, out = range_coder.encoder_state(), np.empty(m.size + 1024, np.uint8)
    bit_planes.encode_planes(state, out, states, m, rest, group, *others, quality, 0)
    return int(range_coder.finish(state, out))


def compare_contexts(
    model: str, images: Sequence[Path], qualities: Sequence[int]
) -> list[dict[str, float]]:
    """Bytes of all images at each quality: whole files, and streams by each kind of context."""
    codec = Codec.load(model, device="cpu")
    engine = codec.engine
    if not isinstance(engine, FourStageEngine):
        raise UsageError(f"{model} is no model of deepsic-pre or deepsic-post")
    rows = []
    with console.progress("contexts", len(qualities) * len(images)) as counter:
        for quality in qualities:
            row: dict[str, float] = {"quality": quality, "pixels": 0, "raw": 0, "trained": 0}
            row |= {f"fixed{sets}": 0 for sets in SETS}
            for path in images:
                rgb = load_image(path).rgb
                v8, v16, _ = engine.analyse(pad(rgb), quality)
                m = bordered(engine.symbols(v8))
                row["pixels"] += rgb.shape[0] * rgb.shape[1]
                row["raw"] += v8.size * bit_planes.PLANES / 8
                row["trained"] += len(engine.encode(v8, v16, quality))
                for sets in SETS:
                    row[f"fixed{sets}"] += _fixed_bytes(m, engine, sets, quality)
                counter.advance()
            rows.append(row)
    return rows
