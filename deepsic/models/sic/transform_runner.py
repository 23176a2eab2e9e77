"""The transforms at inference: pictures to latents and back, on one window of a picture."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepsic.models.blocks import compand, contrast
from deepsic.models.integer import ACTIVATION_STEPS
from deepsic.models.quality import base_step, position
from deepsic.models.sic import layout
from deepsic.models.sic.int8.byte_conv import OFFSET
from deepsic.models.sic.int8.byte_trunk import INPUT_UNIT, ByteAnalysis, byte_synthesis
from deepsic.models.sic.int8.integer_net import has_bf16
from deepsic.models.sic.layout import F32, rows
from deepsic.models.sic.net import SicNet
from deepsic.models.sic.wavelet import bands, lifting, lifting_cpu
from deepsic.models.tiling import Latents


class TransformRunner:
    """Float networks of a `SicNet`: in 8 bits where a CPU has the units, else in bfloat16 or float.

    Nothing here has to be exact: the encoder may choose any latents, and two machines' pictures
    may differ by rounding.

    Args:
        net: trained.
        device: where to run.
        units: of `measure_units`, for 8 bits; none: as floats.
    """

    def __init__(
        self, net: SicNet, device: torch.device, units: dict[str, Tensor] | None = None
    ) -> None:
        self.device = device
        self.dtype = torch.bfloat16 if device.type == "cuda" or has_bf16() else torch.float32
        self.net = net.eval().requires_grad_(False).to(device)
        self.g_a: Any = net.g_a
        self.g_s: Any = net.g_s
        self.bytes = units is not None
        self.tuning = 0
        self.with_state = net.config.revision > 1
        """Whether the synthesis reads the probability model's last state."""
        if units is not None:
            self.g_a = ByteAnalysis(net.g_a, units["unit.g_a"])
            self.g_s = byte_synthesis(net.g_s, units["unit.g_s"])
            self.dtype = torch.bfloat16
        for module in (net.g_a, net.g_s, net.h_a):
            for part in module.modules():
                if isinstance(part, nn.Conv2d):
                    part.to(dtype=self.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]

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

    def _seen_by_network(self, positions: int) -> NDArray[Any]:
        """Room for a network's input at 1/8."""
        return np.empty((positions, bands.COEFFICIENTS8), np.uint8 if self.bytes else np.float32)

    def _entrance(
        self, seen: NDArray[Any], ll8: Tensor, step: float, height: int, width: int
    ) -> Tensor:
        """A network's input at 1/8 (1, 192, H/8, W/8) of what it sees but for the LL band."""
        low = compand(contrast(ll8) / step)
        if self.bytes:
            low = (low * (1 / INPUT_UNIT) + (OFFSET + 0.5)).clamp(0, 255)
        seen[:, : bands.LL] = _flat(low).numpy()
        x8 = torch.from_numpy(seen)
        x8 = x8 if self.bytes else x8.to(self.dtype)
        return layout.planes(x8, height, width, bands.COEFFICIENTS8)

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
        height, width = rgb.shape[0] // 8, rgb.shape[1] // 8
        if self.device.type == "cpu":
            flat = lifting_cpu.forward8(rgb).reshape(-1, bands.COEFFICIENTS8)
            ll8 = layout.planes(torch.from_numpy(flat[:, : bands.LL].copy()), height, width, 3)
            seen = self._seen_by_network(len(flat))
            sweep = layout.compand_bytes if self.bytes else layout.compand_steps
            sweep(flat, np.full(flat.shape[1], 1.0 / step, np.float32), seen)
            x8 = self._entrance(seen, ll8, step, height, width)
        else:
            x = torch.from_numpy(rgb).to(self.device).permute(2, 0, 1)[None].float()
            c8 = lifting.forward8(lifting.rgb_to_colours(x))
            flat = rows(c8.cpu())
            ll8 = c8[:, : bands.LL]
            x8 = self._seen(ll8, c8[:, bands.LL :], 1.0 / step)
        ll, level4 = lifting.forward_level(ll8.contiguous())
        x16 = self._seen(ll, level4, 1.0 / step)
        r8, r16, features = self.g_a(x8, x16, self._position(quality))
        out8 = np.empty((len(flat), bands.Y8), np.float32)
        layout.correct(flat[:, bands.LL :], rows(r8.cpu()), np.float32(step), 1.0 / step8, out8)
        y16 = rows(torch.cat((ll, level4), 1).cpu())
        out16 = np.empty_like(y16)
        layout.correct(y16, rows(r16.cpu()), np.float32(step), 1.0 / step16, out16)
        return (
            out8.reshape(height, width, bands.Y8),
            out16.reshape(height // 2, width // 2, bands.Y16),
            features,
        )

    def hyper(self, v8: F32, v16: F32, quality: int) -> F32:
        """Unrounded hyper-latent (H/32, W/32, 24) of latents in steps."""
        flat = np.ascontiguousarray(v8[..., : bands.ALWAYS8]).reshape(-1, bands.ALWAYS8)
        layout.compand_steps(flat, np.ones(bands.ALWAYS8, np.float32), flat)
        x8 = layout.planes(torch.from_numpy(flat), v8.shape[0], v8.shape[1], bands.ALWAYS8)
        t16 = torch.from_numpy(v16).permute(2, 0, 1)[None].to(self.device)
        x16 = self._seen(t16[:, : bands.LL], t16[:, bands.LL :], 1.0)
        z = self.net.h_a(x8.to(self.device, self.dtype), x16)
        if self.net.gain_z is not None:
            z = z * self.net.gain_z(self._position(quality)).exp()
        z = z[0].permute(1, 2, 0)
        return np.ascontiguousarray(z.float().cpu().numpy())

    def synthesise_scaled(self, latents: Latents, quality: int, shift: int) -> NDArray[np.uint8]:
        """Decoded latents of the coarser levels to (H >> shift, W >> shift, 3).

        The wavelet alone, without the network's correction, which is for whole pictures: it lies
        in the finest levels.
        """
        v8, v16 = latents[:2]
        _, step8, step16 = self.steps(quality)
        y16 = torch.from_numpy(v16 * step16).permute(2, 0, 1)[None]
        ll8 = lifting.inverse_level(
            y16[:, : bands.LL].contiguous(), y16[:, bands.LL :].contiguous()
        )
        low = ll8[0].permute(1, 2, 0).numpy()
        return lifting_cpu.inverse8(np.concatenate((low, v8 * step8), 2), shift)

    def synthesise(self, latents: Latents, quality: int) -> NDArray[np.uint8]:
        """Decoded latents in steps to (H, W, 3).

        Args:
            latents: v8 (H/8, W/8, 189), v16 (H/16, W/16, 12) and, where the synthesis reads it, the
                probability model's last state (H/8, W/8, C), bytes.
        """
        v8, v16 = latents[:2]
        step, step8, step16 = self.steps(quality)
        height, width = v8.shape[:2]
        y16 = torch.from_numpy(v16 * step16).permute(2, 0, 1)[None]
        ll8 = lifting.inverse_level(
            y16[:, : bands.LL].contiguous(), y16[:, bands.LL :].contiguous()
        )
        plain = np.empty((height * width, bands.COEFFICIENTS8), np.float32)
        seen = self._seen_by_network(len(plain))
        sweep = layout.dequantise_bytes if self.bytes else layout.dequantise
        sweep(v8.reshape(-1, bands.Y8), step8, plain, seen, np.float32(1.0 / step))
        plain[:, : bands.LL] = _flat(ll8).numpy()
        x8 = self._entrance(seen, ll8, step, height, width).to(self.device)
        if self.with_state:
            beside = torch.from_numpy(latents[2]).permute(2, 0, 1)[None]
            if not self.bytes:
                beside = (beside.to(self.device, self.dtype) - OFFSET) / ACTIVATION_STEPS
        else:
            beside = self._seen(y16[:, : bands.LL], y16[:, bands.LL :], 1.0 / step).to(self.device)
        r8 = rows(self.g_s(x8, beside, self._position(quality)).cpu())
        ones = np.ones(bands.COEFFICIENTS8, np.float32)
        layout.correct(plain, r8, np.float32(step), ones, plain)
        return lifting_cpu.inverse8(plain.reshape(height, width, bands.COEFFICIENTS8))


def _flat(x: Tensor) -> Tensor:
    """(1, C, H, W) to (H * W, C)."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
