"""Cut-outs of images at equal size in bytes, side by side, and the images that came out worst.

The job kept numbers, not images: the few that are shown are coded again here, with the settings
that the job found.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepsic.errors import DeepsicError, InputError
from deepsic.evaluation.baselines import MeasuredCodec
from deepsic.evaluation.measure import Measurement
from deepsic.evaluation.metrics.distortion import luma

__all__ = ["CropTile", "Wall", "image_wall", "worst_images"]

_SIDE = 192


@dataclass(frozen=True, kw_only=True)
class CropTile:
    """One cut-out with its caption."""

    title: str
    caption: str
    data_uri: str


@dataclass(frozen=True, kw_only=True)
class Wall:
    """One image as every codec gives it."""

    picture: str
    target: float
    """bpp asked of each codec."""
    note: str
    tiles: list[CropTile]


def worst_images(
    rows: Sequence[Measurement], ours: Sequence[str], target: float, count: int
) -> list[tuple[str, str]]:
    """Images on which `ours[0]` is furthest behind the best baseline at `target` bpp, how much.

    Files that missed the target don't count, nor do the others of `ours`. Without baselines: lowest
    PSNR first.
    """
    scores: dict[str, dict[str, float]] = {}
    for row in rows:
        good = row.kind == "target" and row.target == target and row.psnr_rgb is not None
        if good and abs(row.off or 0.0) <= 0.05:
            scores.setdefault(row.picture, {})[row.codec] = row.psnr_rgb or 0.0
    found = []
    for picture, by_codec in scores.items():
        mine = by_codec.get(ours[0])
        if mine is None:
            continue
        by_codec = {codec: value for codec, value in by_codec.items() if codec not in ours}
        if not by_codec:
            found.append((mine, picture, f"{mine:.2f} dB"))
            continue
        best = max(by_codec, key=lambda codec: by_codec[codec])
        gap = mine - by_codec[best]
        found.append((gap, picture, f"{gap:+.2f} dB against {best}, the best baseline here"))
    return [(picture, note) for _, picture, note in sorted(found)[:count]]


def image_wall(
    picture: str,
    original: NDArray[np.uint8],
    rows: Sequence[Measurement],
    coders: Sequence[MeasuredCodec],
    target: float,
    note: str,
) -> Wall:
    """The same cut-out of the original and of every codec's file at `target` bpp."""
    left, top = busiest_corner(original)
    cut = _cutter(left, top)
    image = Image.fromarray(original)
    tiles = [CropTile(title="original", caption="", data_uri=_data_uri(cut(original)))]
    for coder in coders:
        row = _row_of(rows, picture, coder.name, target)
        if row is None:
            continue
        try:
            decoded = coder.decode(_file(coder, image, row))
        except (DeepsicError, OSError, ValueError) as error:
            tiles.append(CropTile(title=coder.title, caption=f"failed: {error}", data_uri=""))
            continue
        off = "" if abs(row.off or 0.0) <= 0.02 else f" ({row.off:+.0%} of target)"
        caption = f"{row.bytes:,} B, {row.bpp:.3f} bpp{off}"
        if row.psnr_rgb is not None:
            caption += f", {row.psnr_rgb:.2f} dB"
        uri = _data_uri(cut(np.asarray(decoded)))
        tiles.append(CropTile(title=coder.title, caption=caption, data_uri=uri))
    return Wall(picture=picture, target=target, note=note, tiles=tiles)


def busiest_corner(rgb: NDArray[np.uint8], side: int = _SIDE) -> tuple[int, int]:
    """Left and top of the window of `side` pixels with the most gradient, on a grid of 32."""
    y = luma(rgb)
    energy = np.abs(np.diff(y, axis=0))[:, :-1] + np.abs(np.diff(y, axis=1))[:-1]
    sums = np.pad(energy, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    best, where = -1.0, (0, 0)
    for top in range(0, max(energy.shape[0] - side, 1), 32):
        for left in range(0, max(energy.shape[1] - side, 1), 32):
            bottom = min(top + side, energy.shape[0])
            right = min(left + side, energy.shape[1])
            value = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
            if value > best:
                best, where = float(value), (left, top)
    return where


def _row_of(
    rows: Sequence[Measurement], picture: str, codec: str, target: float
) -> Measurement | None:
    for row in rows:
        if (row.picture, row.codec, row.target) == (picture, codec, target) and not row.error:
            return row
    return None


def _file(coder: MeasuredCodec, image: Image.Image, row: Measurement) -> bytes:
    """The file that `row` measured, made again."""
    if row.knob is not None:
        return coder.encode(image, row.knob)
    blob = coder.at_rate(image, row.target or 0.0)
    if blob is None:
        raise InputError(f"{coder.name} doesn't reach {row.target} bpp any more")
    return blob


def _cutter(left: int, top: int) -> Callable[[NDArray[np.uint8]], NDArray[np.uint8]]:
    return lambda rgb: rgb[top : top + _SIDE, left : left + _SIDE]


def _data_uri(rgb: NDArray[np.uint8]) -> str:
    """Lossless, so that what is shown is what the codec gave."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
