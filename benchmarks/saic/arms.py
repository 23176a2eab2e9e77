"""An arm: a model file of ours or a baseline, coding whole files to a wanted rate."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepsic.errors import UsageError
from deepsic.evaluation.baselines.base import MeasuredCodec
from deepsic.evaluation.baselines.registry import find_codecs
from deepsic.evaluation.baselines.search import Memory, search_bpp
from deepsic.evaluation.baselines.sic import Sic

__all__ = ["code", "family", "find_arm"]


def find_arm(name: str) -> MeasuredCodec:
    """A coder by the path of a model file, a shipped model's name, or a baseline's name."""
    if name.endswith(".safetensors"):
        coder: MeasuredCodec = Sic(name)
        reason = coder.missing()
        if reason:
            raise UsageError(f"{name}: {reason}")
        return coder
    found, missing = find_codecs([name])
    if not found:
        raise UsageError(f"{name}: {missing.get(name, 'no such coder')}")
    return found[0]


def family(name: str) -> tuple[str, int]:
    """Arm and seed of a model's name: `saic-1` -> ("saic", 1); others get seed 0."""
    match = re.fullmatch(r"(.+)-(\d+)", name)
    return (match.group(1), int(match.group(2))) if match else (name, 0)


def code(
    coder: MeasuredCodec, pixels: NDArray[np.uint8], bpp: float, memory: Memory | None = None
) -> tuple[NDArray[np.uint8], float]:
    """HxWx3 -> decoded HxWx3 and the bits a pixel of the file nearest to `bpp`."""
    hit = search_bpp(coder, Image.fromarray(pixels), bpp, memory=memory)
    return np.asarray(coder.decode(hit.blob).convert("RGB")), hit.bpp


def stem(path: str) -> str:
    """Name under which an arm's measurements are kept."""
    return Path(path).stem if path.endswith(".safetensors") else path
