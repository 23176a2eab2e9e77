"""SSIM and MS-SSIM of gray planes, both from one pass.

SSIM: Wang et al. 2004, Eq. 13; MS-SSIM: Wang et al. 2003, Eq. 7 and their five weights. 11x11
Gaussian window of sigma 1.5, no padding, as TensorFlow and pytorch-msssim (CompressAI) do it;
torchmetrics mirrors the borders for SSIM, which changes it by about 1e-4. One compiled pass over
the rows keeps everything in the cache, and the first scale serves both measures: scoring Kodak
must not take longer than coding it.
"""

from __future__ import annotations

from functools import cache

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["MS_SSIM_MIN_SIDE", "SSIM_MIN_SIDE", "structure"]

#: Shortest side, pixels, for which the window exists.
SSIM_MIN_SIDE = 11
#: Shortest side, pixels, for which the window exists on all five scales.
MS_SSIM_MIN_SIDE = 176

_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

Planes = NDArray[np.float32]


def structure(
    a_CHW: Planes, b_CHW: Planes
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """SSIM and MS-SSIM of each plane, scale 0-255; MS-SSIM is None under 176 pixels a side."""
    deep = min(a_CHW.shape[1:]) >= MS_SSIM_MIN_SIDE
    ssim, contrast = _one_scale(a_CHW, b_CHW)
    if not deep:
        return ssim, None
    first, product = ssim, np.maximum(contrast, 0) ** _WEIGHTS[0]
    for scale, weight in enumerate(_WEIGHTS[1:], start=2):
        a_CHW, b_CHW = _halve(a_CHW), _halve(b_CHW)
        ssim, contrast = _one_scale(a_CHW, b_CHW)
        last = scale == len(_WEIGHTS)
        product *= np.maximum(ssim if last else contrast, 0) ** weight
    return first, product


def _one_scale(a: Planes, b: Planes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean SSIM, and mean of its contrast-and-structure factor, of each plane."""
    window = _window()
    # Of one form for both, so that equal images give exactly 1.
    maps = np.stack((a, b, a * a + b * b, a * b), 1)
    sums = np.array([_sums(of_plane, window) for of_plane in maps])
    count = (a.shape[1] - len(window) + 1) * (a.shape[2] - len(window) + 1)
    return sums[:, 0] / count, sums[:, 1] / count


@numba.njit(cache=True, nogil=True)
def _sums(maps_4HW: Planes, window: NDArray[np.float32]) -> tuple[float, float]:
    """Sums of SSIM and of contrast-and-structure over all places where the window fits.

    maps_4HW: a, b, a^2 + b^2 and a b of one plane.
    """
    height, width = maps_4HW.shape[1:]
    places = width - len(window) + 1
    c1, c2, two = np.float32(_C1), np.float32(_C2), np.float32(2)
    column = np.empty(width, np.float32)
    mean = np.empty((4, places), np.float32)
    total_ssim, total_contrast = 0.0, 0.0
    for y in range(height - len(window) + 1):
        for m in range(4):
            _weigh_rows(maps_4HW[m, y : y + len(window)], window, column)
            _slide(column, window, mean[m])
        for x in range(places):
            product = mean[0, x] * mean[1, x]
            squares = mean[0, x] * mean[0, x] + mean[1, x] * mean[1, x]
            # In float32 the variances of flat regions lose digits; C2 of 58 keeps that below 1e-5.
            contrast = (two * (mean[3, x] - product) + c2) / (mean[2, x] - squares + c2)
            total_contrast += contrast
            total_ssim += contrast * (two * product + c1) / (squares + c1)
    return total_ssim, total_contrast


# One array written and one read in each inner loop: more, and the compiler doesn't vectorise.
@numba.njit(cache=True, nogil=True)
def _weigh_rows(rows: Planes, window: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    out[:] = 0
    for k in range(len(window)):
        weight, row = window[k], rows[k]
        for x in range(len(out)):
            out[x] += weight * row[x]


@numba.njit(cache=True, nogil=True)
def _slide(row: NDArray[np.float32], window: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    out[:] = 0
    for k in range(len(window)):
        weight, shifted = window[k], row[k:]
        for x in range(len(out)):
            out[x] += weight * shifted[x]


@cache
def _window() -> NDArray[np.float32]:
    taps = np.exp(-(np.arange(-5.0, 6.0) ** 2) / (2 * 1.5**2))
    window: NDArray[np.float32] = (taps / taps.sum()).astype(np.float32)
    return window


def _halve(x_CHW: Planes) -> Planes:
    """Means of 2x2 pixels; an odd last row or column is dropped, as torchmetrics does."""
    height, width = (side // 2 * 2 for side in x_CHW.shape[1:])
    x = x_CHW[:, :height, :width]
    y = x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]
    mean: Planes = y / np.float32(4)
    return mean
