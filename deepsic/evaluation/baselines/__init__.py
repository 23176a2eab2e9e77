"""Codecs to measure against, and ours, behind one small interface.

    coders, missing = find_coders(["jpeg", "avif", "jxl"])
    hit = search_bpp(coders[0], image, 0.25)      # within 2 % where the codec can
    picture = coders[0].decode(hit.blob)

A coder turns a picture and one number (its own quality) into a whole file and back.
"""

from __future__ import annotations

from deepsic.evaluation.baselines.base import Coder, Encoded
from deepsic.evaluation.baselines.registry import RIVALS, find_coders
from deepsic.evaluation.baselines.search import Hit, Memory, search_bpp

__all__ = ["RIVALS", "Coder", "Encoded", "Hit", "Memory", "find_coders", "search_bpp"]
