"""One file to rows: decoded safely, scaled, cut."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepsic.errors import UnsupportedImageError
from deepsic.image_io.load import load_image
from deepsic.limits import DEFAULT_LIMITS, Limits
from pipelines.preparing.policy import Policy

__all__ = ["cut", "images_of"]

Pixels = NDArray[np.uint8]


def images_of(
    data: bytes, policy: Policy, scales: tuple[float, ...], limits: Limits = DEFAULT_LIMITS
) -> list[tuple[float, Pixels]]:
    """Images (H, W, 3) of a file's bytes, each with its scale.

    Raises:
        InputError, LimitError: damaged, refused or too large, as `load_image`.
        UnsupportedImageError: without colour where that is not wanted, or too small.
    """
    image = load_image(data, limits)
    if image.gray and not policy.gray:
        raise UnsupportedImageError("gray, and the policy keeps only colour")
    made = []
    for scale in scales:
        pixels = resized(image.rgb, scale)
        if min(pixels.shape[:2]) >= policy.min_side:
            made += [(scale, piece) for piece in cut(pixels, policy)]
    if not made:
        width, height = image.size
        raise UnsupportedImageError(f"{width}x{height} is smaller than {policy.min_side} pixels")
    return made


def resized(pixels: Pixels, scale: float) -> Pixels:
    """By Lanczos."""
    if scale == 1:
        return pixels
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


def cut(pixels: Pixels, policy: Policy) -> Iterator[Pixels]:
    """Pieces of an image as the policy's shape asks."""
    height, width = pixels.shape[:2]
    side = policy.side
    if policy.shape == "whole":
        yield resized(pixels, min(1.0, side / max(height, width)))
    elif policy.shape == "center":
        scale = side / min(height, width)
        size = max(side, round(width * scale)), max(side, round(height * scale))
        pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
        top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
        yield pixels[top : top + side, left : left + side]
    else:
        for top in range(0, max(height - side, 0) + 1, side):
            for left in range(0, max(width - side, 0) + 1, side):
                yield pixels[top : top + side, left : left + side]
