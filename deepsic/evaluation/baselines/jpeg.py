"""JPEG, baseline and progressive, with a quality that need not be a whole number.

At low rates a step of libjpeg's quality changes a file by up to 10 %, too coarse for a comparison
at equal size. Quality only scales the standard's two quantisation tables, so we scale them
ourselves; at whole numbers the bytes are the same as Pillow's own `quality=`.
"""

from __future__ import annotations

import io
from functools import cache
from typing import ClassVar

from PIL import Image

from deepsic.evaluation.baselines.base import MeasuredCodec

__all__ = ["Jpeg", "ProgressiveJpeg", "scaled_tables"]


@cache
def _standard_tables() -> tuple[tuple[int, ...], ...]:
    """The tables of ITU T.81 Annex K, in Pillow's order: what libjpeg uses at quality 50."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG", quality=50)
    with Image.open(buffer) as image:
        tables = image.quantization  # type: ignore[attr-defined]
    return tuple(tuple(table) for _, table in sorted(tables.items()))


def scaled_tables(quality: float) -> list[list[int]]:
    """Quantisation tables of libjpeg's `quality` (1 to 100), continued between whole numbers."""
    percent = 5000 / quality if quality < 50 else 200 - 2 * quality
    return [
        [min(max(int((entry * percent + 50) / 100), 1), 255) for entry in table]
        for table in _standard_tables()
    ]


class Jpeg(MeasuredCodec):
    """Pillow's JPEG (libjpeg-turbo): 4:2:0, optimised Huffman tables."""

    name = "jpeg"
    title = "JPEG"
    settings = "libjpeg-turbo, 4:2:0, optimised Huffman tables, fractional quality"
    low, high, step = 1.0, 100.0, 0.02
    ladder = (6.0, 12.0, 22.0, 40.0, 65.0, 85.0, 93.0)
    progressive: ClassVar[bool] = False

    def encode(self, image: Image.Image, knob: float) -> bytes:
        buffer = io.BytesIO()
        image.save(
            buffer,
            "JPEG",
            qtables=scaled_tables(knob),
            subsampling="4:2:0",
            optimize=True,
            progressive=self.progressive,
        )
        return buffer.getvalue()

    def decode(self, blob: bytes) -> Image.Image:
        with Image.open(io.BytesIO(blob), formats=("JPEG",)) as image:
            return image.convert("RGB")


class ProgressiveJpeg(Jpeg):
    """The same in progressive order, usually a few percent smaller."""

    name = "jpeg-progressive"
    title = "JPEG progressive"
    settings = "libjpeg-turbo, progressive, 4:2:0, optimised Huffman tables, fractional quality"
    progressive = True
