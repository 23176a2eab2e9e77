"""Distortion between two 8-bit images: MSE, PSNR, SSIM and MS-SSIM, on RGB and on luma.

Luma is BT.601's (the Y of JPEG), full range, not rounded. PSNR over RGB takes one MSE over the
three channels; SSIM and MS-SSIM over RGB are means of the three channels' values, as CompressAI
and TensorFlow compute them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepsic.errors import UsageError
from deepsic.evaluation.metrics.structure import MS_SSIM_MIN_SIDE, SSIM_MIN_SIDE, structure

__all__ = ["IDENTICAL_DB", "MS_SSIM_MIN_SIDE", "DistortionScores", "compare", "luma", "psnr"]

#: dB that stands for two equal images, whose PSNR has no bound.
IDENTICAL_DB = 100.0
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, kw_only=True)
class DistortionScores:
    """How far a decoded image is from the original."""

    mse: float
    """Mean squared error over RGB, on the scale 0-255."""
    psnr_rgb: float
    """dB."""
    psnr_y: float
    """dB, luma."""
    ssim: float | None
    """RGB, at most 1; None under 11 pixels a side."""
    ms_ssim_rgb: float | None
    """At most 1; None under 176 pixels a side."""
    ms_ssim_y: float | None
    """Luma, at most 1; None under 176 pixels a side."""


def psnr(mse: float, peak: float = 255.0) -> float:
    """Peak signal to noise ratio, dB; `IDENTICAL_DB` if nothing differs.

    >>> round(psnr(65.025), 3)
    30.0
    """
    if mse < 0:
        raise UsageError(f"mse={mse} can't be negative")
    return min(10 * math.log10(peak**2 / mse), IDENTICAL_DB) if mse > 0 else IDENTICAL_DB


def luma(rgb: NDArray[Any]) -> NDArray[np.float32]:
    """BT.601 luma (height, width) of an RGB image (height, width, 3); same scale."""
    y: NDArray[np.float32] = rgb.astype(np.float32) @ np.array(_LUMA, np.float32)
    return y


def compare(original: NDArray[np.uint8], decoded: NDArray[np.uint8]) -> DistortionScores:
    """Compare two RGB images (height, width, 3) of uint8.

    Raises: `UsageError` if they differ in size or aren't 8-bit RGB.
    """
    for name, image in (("original", original), ("decoded", decoded)):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise UsageError(
                f"{name}: want (height, width, 3) of uint8, got {image.shape} of {image.dtype}"
            )
    if original.shape != decoded.shape:
        raise UsageError(f"the images differ in size: {original.shape[:2]} and {decoded.shape[:2]}")
    difference = original.astype(np.float32) - decoded  # exact: whole numbers below 2^24
    mse = float(np.mean(difference**2, dtype=np.float64))
    mse_y = float(np.mean((difference @ np.array(_LUMA, np.float32)) ** 2, dtype=np.float64))
    side = min(original.shape[:2])
    ssim, ms_ssim = _structure(original, decoded) if side >= SSIM_MIN_SIDE else (None, None)
    return DistortionScores(
        mse=mse,
        psnr_rgb=psnr(mse),
        psnr_y=psnr(mse_y),
        ssim=None if ssim is None else float(np.mean(ssim[:3])),
        ms_ssim_rgb=None if ms_ssim is None else float(np.mean(ms_ssim[:3])),
        ms_ssim_y=None if ms_ssim is None else ms_ssim[3],
    )


def _structure(
    original: NDArray[np.uint8], decoded: NDArray[np.uint8]
) -> tuple[list[float], list[float] | None]:
    """SSIM and MS-SSIM of R, G, B and luma; MS-SSIM is None for a small image."""
    ssim, ms_ssim = structure(_planes(original), _planes(decoded))
    return ssim.tolist(), None if ms_ssim is None else ms_ssim.tolist()


def _planes(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """R, G, B and luma, (4, height, width), scale 0-255."""
    planes = np.concatenate([rgb, luma(rgb)[..., None]], axis=2)
    return np.ascontiguousarray(planes.transpose(2, 0, 1), np.float32)
