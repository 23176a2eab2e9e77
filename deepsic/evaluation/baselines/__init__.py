"""Codecs to measure against, and ours, behind one small interface.

    coders, missing = find_codecs(["jpeg", "avif", "jxl"])
    hit = search_bpp(coders[0], image, 0.25)      # within 2 % where the codec can
    image = coders[0].decode(hit.blob)

A coder turns an image and one number (its own quality) into a whole file and back.
"""

from __future__ import annotations

from deepsic.evaluation.baselines.base import EncodedFile, MeasuredCodec
from deepsic.evaluation.baselines.registry import BASELINES, find_codecs
from deepsic.evaluation.baselines.search import Hit, Memory, search_bpp

__all__ = [
    "BASELINES",
    "EncodedFile",
    "Hit",
    "MeasuredCodec",
    "Memory",
    "find_codecs",
    "search_bpp",
]
