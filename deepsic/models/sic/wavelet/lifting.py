"""Colour rotation and the 9/7 wavelet: the codec's linear path, in float32.

The lifting scheme is that of JPEG 2000's irreversible transform (Daubechies and Sweldens 1998),
scaled so that each level is close to orthonormal: equal quantisation steps in all bands are then
close to optimal for the mean squared error.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from deepsic.models.sic.wavelet import bands
from deepsic.models.sic.wavelet.filters import LIFTING, ROTATION, SCALE


def rotation() -> Tensor:
    """The 3x3 colour rotation, float32: `colours = rotation @ rgb`."""
    return torch.tensor(ROTATION, dtype=torch.float32)


def rgb_to_colours(x: Tensor) -> Tensor:
    """RGB (B, 3, H, W) in [0, 255] to rotated colours, centred on mid-gray."""
    return torch.einsum("dc,bchw->bdhw", rotation().to(x.device), x - 128.0)


def colours_to_rgb(x: Tensor) -> Tensor:
    """Inverse of `rgb_to_colours`; not clamped."""
    return torch.einsum("dc,bdhw->bchw", rotation().to(x.device), x) + 128.0


def _lift(x: Tensor) -> tuple[Tensor, Tensor]:
    """One lifting level along the last dimension (even length): low and high halves."""
    low, high = x[..., 0::2], x[..., 1::2]

    def following(t: Tensor) -> Tensor:  # neighbour at +1, whole-sample symmetric extension
        return torch.cat((t[..., 1:], t[..., -1:]), -1)

    def previous(t: Tensor) -> Tensor:
        return torch.cat((t[..., :1], t[..., :-1]), -1)

    high = high + LIFTING[0] * (low + following(low))
    low = low + LIFTING[1] * (high + previous(high))
    high = high + LIFTING[2] * (low + following(low))
    low = low + LIFTING[3] * (high + previous(high))
    return low * SCALE, high / SCALE


@lru_cache(maxsize=64)
def _matrices(n: int, device: str) -> tuple[Tensor, Tensor]:
    """The level's analysis matrix (n, n), low half first, and its inverse.

    Training crops are small, and there two matrix products are several times faster than strided
    lifting steps; whole pictures on a CPU take `wavelet_cpu` instead.
    """
    with torch.inference_mode(False):  # cached: training may come to use what decoding made
        low, high = _lift(torch.eye(n, dtype=torch.float64))
        forward = torch.cat((low, high), 1).T
        inverse = torch.linalg.inv(forward)
        inverse[inverse.abs() < 1e-9] = 0.0  # denormal floats would slow the product fifty times
        return forward.float().contiguous().to(device), inverse.float().contiguous().to(device)


def forward_level(x: Tensor) -> tuple[Tensor, Tensor]:
    """One 2-D level: (B, C, H, W) to LL (B, C, H/2, W/2) and bands (B, 3C, H/2, W/2)."""
    h, w = x.shape[2] // 2, x.shape[3] // 2
    rows, _ = _matrices(2 * h, str(x.device))
    columns, _ = _matrices(2 * w, str(x.device))
    y = rows @ x @ columns.T
    details = (y[..., h:, :w], y[..., :h, w:], y[..., h:, w:])
    return y[..., :h, :w], torch.stack(details, 2).flatten(1, 2)


def inverse_level(ll: Tensor, detail: Tensor) -> Tensor:
    """Inverse of `forward_level`."""
    _, rows = _matrices(2 * ll.shape[2], str(ll.device))
    _, columns = _matrices(2 * ll.shape[3], str(ll.device))
    lh, hl, hh = detail.view(len(detail), -1, 3, detail.shape[2], detail.shape[3]).unbind(2)
    y = torch.cat((torch.cat((ll, hl), 3), torch.cat((lh, hh), 3)), 2)
    return rows @ y @ columns.T


def forward8(x: Tensor) -> Tensor:
    """Three levels, packed at 1/8: colours (B, 3, H, W) to (B, 192, H/8, W/8).

    Channels: LL 3, level 3: 9, level 2: 36, level 1 luma: 48, level 1 chroma: 96.
    """
    ll, level1 = forward_level(x)
    ll, level2 = forward_level(ll)
    ll, level3 = forward_level(ll)
    return torch.cat(
        (ll, level3, functional.pixel_unshuffle(level2, 2), functional.pixel_unshuffle(level1, 4)),
        1,
    )


def inverse8(c8: Tensor) -> Tensor:
    """Inverse of `forward8`."""
    sizes = [bands.LL, bands.LEVEL3, bands.LEVEL2, bands.LEVEL1 + bands.CHROMA1]
    ll, level3, level2, level1 = torch.split(c8, sizes, 1)
    ll = inverse_level(ll, level3)
    ll = inverse_level(ll, functional.pixel_shuffle(level2, 2))
    return inverse_level(ll, functional.pixel_shuffle(level1, 4))
