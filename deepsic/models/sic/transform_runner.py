"""The transforms with torch: on a GPU, and of model files without units for bytes.

Nothing here has to be exact: the encoder may choose any latents, and two machines' pictures may
differ by rounding.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepsic.models.blocks import compand, contrast
from deepsic.models.device import has_bf16
from deepsic.models.integer import ACTIVATION_STEPS
from deepsic.models.quality import base_step, position
from deepsic.models.sic.byte_transforms import wavelet_latents
from deepsic.models.sic.config import SicConfig
from deepsic.models.sic.int8.planes import OFFSET
from deepsic.models.sic.layout import F32
from deepsic.models.sic.net import SicNet
from deepsic.models.sic.wavelet import bands, lifting, lifting_cpu
from deepsic.models.tiles.tiling import Latents

__all__ = ["FLOAT_PARTS", "TransformRunner"]

FLOAT_PARTS = ("g_a.", "g_s.", "h_a.", "gain8.", "gain16.", "gain_z.")
"""First words of the names of what a model file holds as floats."""


class TransformRunner:
    """Float networks of a `SicNet`: in bfloat16 where the device has the units, else in float32."""

    def __init__(self, net: SicNet, device: torch.device) -> None:
        self.device = device
        self.dtype = torch.bfloat16 if device.type == "cuda" or has_bf16() else torch.float32
        self.net = net.eval().requires_grad_(False).to(device)
        self.tuning = 0
        self.tunings, self.wide = net.config.tunings, net.config.wide
        self.with_state = net.config.revision > 1
        """Whether the synthesis reads the probability model's last state."""
        for module in (net.g_a, net.g_s, net.h_a):
            for part in module.modules():
                if isinstance(part, nn.Conv2d):
                    part.to(dtype=self.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def of(
        cls, arrays: Mapping[str, NDArray[Any]], config: SicConfig, device: str
    ) -> TransformRunner:
        """From a model file. Raises: `KeyError`, if tensors are missing."""
        net = SicNet(config)
        floats = {
            name[4:]: torch.from_numpy(np.array(value, np.float32))
            for name, value in arrays.items()
            if name.startswith("net.")
        }
        missing, unexpected = net.load_state_dict(floats, strict=False)
        lost = [name for name in missing if name.startswith(FLOAT_PARTS)]
        if lost or unexpected:
            raise KeyError(f"{lost or unexpected}")
        return cls(net, torch.device(device))

    def tuned(self, tuning: int) -> TransformRunner:
        """The same networks, at another tuning."""
        made = copy.copy(self)
        made.tuning = tuning
        return made

    def _position(self, quality: int) -> Tensor:
        place = position(float(quality), self.tuning)
        return torch.tensor([place], dtype=torch.float32, device=self.device)

    def _seen(self, ll: Tensor, rest: Tensor, scale: float) -> Tensor:
        """Companded input of a network: contrast of the LL band, and the rest, in steps."""
        v = compand(torch.cat((contrast(ll), rest), 1) * scale)
        return v.to(self.dtype).contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def steps(self, quality: int) -> tuple[float, F32, F32]:
        """Base step, and steps of y8 (189,) and y16 (12,), in coefficient units."""
        at = self._position(quality)
        step = base_step(at, self.wide)
        step8 = (step * self.net.gain8(at)[0, :, 0, 0].exp()).cpu().numpy()
        step16 = (step * self.net.gain16(at)[0, :, 0, 0].exp()).cpu().numpy()
        return float(step[0]), step8, step16

    @torch.inference_mode()
    def analyse(self, rgb: NDArray[np.uint8], quality: int) -> tuple[F32, F32, Tensor]:
        """Window (H, W, 3), sides multiples of 32, to latents in steps and semantic features.

        Returns:
            v8 (H/8, W/8, 189), v16 (H/16, W/16, 12), features (1, C, H/16, W/16).
        """
        step, step8, step16 = self.steps(quality)
        c8 = self._planes(lifting_cpu.forward8(rgb))
        ll8 = c8[:, : bands.LL]
        ll, level4 = lifting.forward_level(ll8.contiguous())
        x8 = self._seen(ll8, c8[:, bands.LL :], 1.0 / step)
        x16 = self._seen(ll, level4, 1.0 / step)
        r8, r16, features = self.net.g_a(x8, x16, self._position(quality))
        y8 = _rows(c8[:, bands.LL :] + r8.float() * step) / step8
        y16 = _rows(torch.cat((ll, level4), 1) + r16.float() * step) / step16
        return y8, y16, features

    def analyse_quickly(self, rgb: NDArray[np.uint8], quality: int) -> tuple[F32, F32]:
        """As `ByteTransforms.analyse_quickly`."""
        return wavelet_latents(rgb, *self.steps(quality)[1:])

    @torch.inference_mode()
    def hyper(self, v8: F32, v16: F32, quality: int) -> F32:
        """Unrounded hyper-latent (H/32, W/32, 24) of latents in steps."""
        x8 = compand(self._planes(v8[..., : bands.ALWAYS8])).to(self.dtype)
        t16 = self._planes(v16)
        x16 = self._seen(t16[:, : bands.LL], t16[:, bands.LL :], 1.0)
        z = self.net.h_a(x8, x16)
        if self.net.gain_z is not None:
            z = z * self.net.gain_z(self._position(quality)).exp()
        return _rows(z.float())

    @torch.inference_mode()
    def synthesise_scaled(self, latents: Latents, quality: int, shift: int) -> NDArray[np.uint8]:
        """As `ByteTransforms.synthesise_scaled`."""
        v8, v16 = latents[:2]
        _, step8, step16 = self.steps(quality)
        low = lifting_cpu.inverse16(v16 * step16)
        return lifting_cpu.inverse8(np.concatenate((low, v8 * step8[: v8.shape[2]]), 2), shift)

    @torch.inference_mode()
    def synthesise(self, latents: Latents, quality: int) -> NDArray[np.uint8]:
        """As `ByteTransforms.synthesise`."""
        v8, v16 = latents[:2]
        step, step8, step16 = self.steps(quality)
        y16 = self._planes(v16 * step16)
        ll, level4 = y16[:, : bands.LL], y16[:, bands.LL :]
        ll8 = lifting.inverse_level(ll.contiguous(), level4.contiguous())
        y8 = self._planes(bands.whole8(v8) * step8)
        if self.with_state:
            state = self._planes(latents[2]).to(self.dtype)
            beside = (state - OFFSET) / ACTIVATION_STEPS
        else:
            beside = self._seen(ll, level4, 1.0 / step)
        r8 = self.net.g_s(self._seen(ll8, y8, 1.0 / step), beside, self._position(quality))
        return lifting_cpu.inverse8(_rows(torch.cat((ll8, y8), 1) + r8.float() * step))

    def _planes(self, x: NDArray[Any]) -> Tensor:
        """(H, W, C) to (1, C, H, W) on the device, channels last."""
        return torch.from_numpy(np.ascontiguousarray(x)).to(self.device).permute(2, 0, 1)[None]


def _rows(x: Tensor) -> F32:
    """(1, C, H, W) to (H, W, C)."""
    rows: F32 = x[0].permute(1, 2, 0).contiguous().cpu().numpy()
    return rows
