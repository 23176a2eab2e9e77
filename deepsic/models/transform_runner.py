"""The transforms at inference: pictures to latents and back, on one window of a picture."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepsic.models import bands, wavelet, wavelet_cpu
from deepsic.models.blocks import compand, contrast
from deepsic.models.integer_net import has_bf16
from deepsic.models.quality import base_step, position
from deepsic.models.sic import SicNet

F32 = NDArray[np.float32]
jit: Any = numba.njit(cache=True, nogil=True, fastmath=True)


@jit
def _compand_into(x: Any, scale: Any, out: Any) -> None:
    """`compand(x * scale)` over flat arrays."""
    eight = np.float32(8.0)
    for i in range(x.size):
        v = x[i] * scale
        out[i] = eight * v / (eight + abs(v))


@jit
def _add_scaled(x: Any, y: Any, scale: Any, out: Any) -> None:
    """`(x + y * step) / divisor` channel by channel: x, y (P, C), scale (2, C)."""
    for p in range(x.shape[0]):
        for c in range(x.shape[1]):
            out[p, c] = (x[p, c] + y[p, c] * scale[0, c]) * scale[1, c]


class TransformRunner:
    """Float networks of a `SicNet`, in bfloat16 where the machine multiplies it in hardware.

    Nothing here has to be exact: the encoder may choose any latents, and two machines' pictures
    may differ by rounding.
    """

    def __init__(self, net: SicNet, device: torch.device) -> None:
        self.device = device
        self.dtype = torch.bfloat16 if device.type == "cuda" or has_bf16() else torch.float32
        self.net = net.eval().requires_grad_(False).to(device)
        for module in (net.g_a, net.g_s, net.h_a):
            for part in module.modules():
                if isinstance(part, nn.Conv2d):
                    part.to(dtype=self.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _position(self, quality: int) -> Tensor:
        return torch.tensor([position(float(quality))], dtype=torch.float32, device=self.device)

    def _net_input(self, ll: Tensor, rest: Tensor, scale: float) -> Tensor:
        """Companded input of a network: contrast of the LL band, and the rest, in steps."""
        v = torch.cat((contrast(ll), rest), 1)
        if self.device.type == "cpu":
            v = v.contiguous(memory_format=torch.channels_last)
            flat = v.permute(0, 2, 3, 1).reshape(-1).numpy()
            _compand_into(flat, np.float32(scale), flat)
        else:
            v = compand(v * scale)
        return v.to(self.dtype).contiguous(memory_format=torch.channels_last)

    def steps(self, quality: int) -> tuple[float, F32, F32]:
        """Base step, and steps of y8 (189,) and y16 (12,), in coefficient units."""
        at = self._position(quality)
        step = base_step(at)
        step8 = (step * self.net.gain8(at)[0, :, 0, 0].exp()).cpu().numpy()
        step16 = (step * self.net.gain16(at)[0, :, 0, 0].exp()).cpu().numpy()
        return float(step[0]), step8, step16

    def analyse(self, rgb: NDArray[np.uint8], quality: int) -> tuple[F32, F32, Tensor]:
        """Window (H, W, 3), sides multiples of 32, to latents in steps and semantic features.

        Returns:
            v8 (H/8, W/8, 189), v16 (H/16, W/16, 12), features (1, C, H/16, W/16).
        """
        step, step8, step16 = self.steps(quality)
        if self.device.type == "cpu":
            c8 = torch.from_numpy(wavelet_cpu.forward8(rgb)).permute(2, 0, 1)[None]
        else:
            x = torch.from_numpy(rgb).to(self.device).permute(2, 0, 1)[None].float()
            c8 = wavelet.forward8(wavelet.rgb_to_colours(x))
        ll8 = c8[:, : bands.LL].contiguous()
        ll, level4 = wavelet.forward_level(ll8)
        v8 = self._net_input(ll8, c8[:, bands.LL :], 1.0 / step)
        v16 = self._net_input(ll, level4, 1.0 / step)
        r8, r16, features = self.net.g_a(v8, v16, self._position(quality))
        y8 = _combine(c8[:, bands.LL :], r8, step, 1.0 / step8)
        y16 = _combine(torch.cat((ll, level4), 1), r16, step, 1.0 / step16)
        return y8, y16, features

    def hyper(self, v8: F32, v16: F32) -> F32:
        """Unrounded hyper-latent (H/32, W/32, 24) of latents in steps."""
        t8 = torch.from_numpy(np.ascontiguousarray(v8[..., : bands.ALWAYS8]))
        t16 = torch.from_numpy(v16).permute(2, 0, 1)[None].to(self.device)
        x8 = compand(t8.to(self.device)).permute(2, 0, 1)[None].to(self.dtype)
        x16 = self._net_input(t16[:, : bands.LL], t16[:, bands.LL :], 1.0)
        z = self.net.h_a(x8, x16)[0].permute(1, 2, 0)
        return np.ascontiguousarray(z.float().cpu().numpy())

    def _synthesis_input(self, y8: Tensor, y16: Tensor, step: float) -> tuple[Tensor, ...]:
        ll8 = wavelet.inverse_level(
            y16[:, : bands.LL].contiguous(), y16[:, bands.LL :].contiguous()
        )
        v8 = self._net_input(ll8, y8, 1.0 / step)
        v16 = self._net_input(y16[:, : bands.LL], y16[:, bands.LL :], 1.0 / step)
        return ll8, v8, v16

    def dequantise(self, v8: F32, v16: F32, quality: int) -> tuple[Tensor, Tensor, float]:
        """Latents in steps to (1, C, H, W) tensors in coefficient units, and the base step."""
        step, step8, step16 = self.steps(quality)
        y8 = torch.from_numpy(v8 * step8).permute(2, 0, 1)[None].to(self.device)
        y16 = torch.from_numpy(v16 * step16).permute(2, 0, 1)[None].to(self.device)
        return y8, y16, step

    def synthesise(self, v8: F32, v16: F32, quality: int) -> NDArray[np.uint8]:
        """Decoded latents in steps, (H/8, W/8, 189) and (H/16, W/16, 12), to (H, W, 3)."""
        y8, y16, step = self.dequantise(v8, v16, quality)
        ll8, x8, x16 = self._synthesis_input(y8, y16, step)
        r8 = self.net.g_s(x8, x16, self._position(quality))
        plain = torch.cat((ll8, y8), 1)
        if self.device.type == "cpu":
            ones = np.ones(bands.COEFFICIENTS8, np.float32)
            return wavelet_cpu.inverse8(_combine(plain, r8, step, ones))
        x = wavelet.colours_to_rgb(wavelet.inverse8(plain + r8.float() * step))
        return x.clamp(0, 255).round().byte()[0].permute(1, 2, 0).cpu().numpy()

    def synthesis_features(self, v8: F32, v16: F32, quality: int) -> Tensor:
        """Features (1, C, H/16, W/16) for the post-semantic head: no pixels are made."""
        y8, y16, step = self.dequantise(v8, v16, quality)
        _, x8, x16 = self._synthesis_input(y8, y16, step)
        _, features = self.net.g_s.trunk.features16(x8, x16, self._position(quality))
        return torch.as_tensor(features)


def _combine(x: Tensor, correction: Tensor, step: float, scale: F32) -> F32:
    """`(x + correction * step) * scale` as (H, W, C) float32."""
    channels = x.shape[1]
    a = x.permute(0, 2, 3, 1).contiguous().cpu().numpy().reshape(-1, channels)
    b = correction.permute(0, 2, 3, 1).float().contiguous().cpu().numpy().reshape(-1, channels)
    scales = np.stack((np.full(channels, step, np.float32), scale.astype(np.float32)))
    out = np.empty_like(a)
    _add_scaled(a, b, scales, out)
    return out.reshape(x.shape[2], x.shape[3], channels)
