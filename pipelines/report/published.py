"""Curves that other codecs' authors published for Kodak; see `published/NOTICE.md`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from deepsic.errors import UsageError
from deepsic.evaluation.metrics.bdrate import Curve

__all__ = ["QUALITIES", "Published"]

QUALITIES = ("psnr_rgb", "psnr_y", "ms_ssim_rgb", "ms_ssim_y")
_FILE = Path(__file__).with_name("published") / "kodak.json"


@dataclass(frozen=True, kw_only=True)
class Published:
    """One codec's averages over Kodak."""

    name: str
    title: str
    source: str
    """Where the numbers are from: a key of `NOTICE.md`."""
    curve: Curve
    """bpp, and dB or plain MS-SSIM."""

    @staticmethod
    def load(quality: str) -> dict[str, Published]:
        """All codecs that published `quality` (one of `QUALITIES`), by name."""
        if quality not in QUALITIES:
            raise UsageError(f"no published {quality!r}; choose from {', '.join(QUALITIES)}")
        return {
            name: Published(
                name=name,
                title=entry["title"],
                source=entry["source"],
                curve=Curve([p[0] for p in entry[quality]], [p[1] for p in entry[quality]]),
            )
            for name, entry in _entries().items()
            if quality in entry
        }


@cache
def _entries() -> dict[str, Any]:
    entries: dict[str, Any] = json.loads(_FILE.read_text("utf-8"))
    return entries
