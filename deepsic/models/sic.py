"""`sic`, the default preset: wavelet and residual networks, one model for all rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepsic.models import bands, likelihood, wavelet
from deepsic.models.blocks import QualityTable, compand, contrast
from deepsic.models.context import HYPER, ContextModel, checkerboard
from deepsic.models.hyper import HyperAnalysis
from deepsic.models.quality import base_step
from deepsic.models.transforms import Analysis, Synthesis


@dataclass(frozen=True, kw_only=True)
class SicConfig:
    """Sizes of the default preset."""

    width8: int = 96
    """Channels of the transforms at 1/8."""
    width16: int = 128
    """Channels of the transforms at 1/16."""
    depth: int = 2
    """Residual blocks at each resolution."""
    context: int = 64
    """Channels of the probability model."""
    rounded_sums: bool = False
    """Whether the probability nets' sums are rounded to bfloat16, as in the first models."""

    @classmethod
    def from_file(cls, values: Mapping[str, Any]) -> SicConfig:
        """Of a model file; what the first ones don't say is as it was then."""
        return cls(**{"rounded_sums": True, **values})


@dataclass(kw_only=True)
class Latents:
    """Latents of a batch, in coefficient units, with the steps that quantise them."""

    y8: Tensor
    """(B, 189, H/8, W/8)"""
    y16: Tensor
    """(B, 12, H/16, W/16)"""
    step8: Tensor
    """(B, 189, 1, 1)"""
    step16: Tensor
    """(B, 12, 1, 1)"""


@dataclass(kw_only=True)
class Output:
    """What one pass over a batch gives."""

    x_hat: Tensor
    """(B, 3, H, W), RGB in [0, 255], not clamped."""
    bits: Tensor
    """(B,), bits a picture."""
    parts: dict[str, Tensor]
    """Bits a picture of each part (z, ll, 4a .. 1b), (B,), detached."""
    before: tuple[Tensor, Tensor]
    """Latents y8 and y16 before rounding, coefficient units: what a pre-semantic head reads."""
    after: tuple[Tensor, Tensor]
    """The same after it, as decoded: what a post-semantic head reads."""


class TrainingCoder:
    """Quantises pass by pass with straight-through gradients, and adds up the bits."""

    def __init__(self, v8: Tensor, v16: Tensor) -> None:
        self.v8, self.v16 = v8, v16
        self.total = v8.new_zeros(v8.shape[0])
        self.parts: dict[str, Tensor] = {}
        self.decoded: dict[str, Tensor] = {}
        self._masks = {
            "4": checkerboard(v16.shape[2], v16.shape[3], v16.device),
            "3": checkerboard(v8.shape[2], v8.shape[3], v8.device),
        }

    def _target(self, name: str) -> tuple[Tensor, Tensor | None]:
        """Latents of a pass, in steps, and the mask of those that it codes (None: all)."""
        level, part = name[0], name[1]
        if level in self._masks:
            block = self.v16[:, bands.LL :] if level == "4" else self.v8[:, : bands.LEVEL3]
            even = self._masks[level]
            if part == "a":
                return block[:, : bands.LUMA_BANDS], even
            mask = torch.ones_like(block[:1])
            mask[:, : bands.LUMA_BANDS] = 1.0 - even
            return block, mask
        start = bands.LEVEL3 if level == "2" else bands.LEVEL3 + bands.LEVEL2
        channels = {
            "2a": bands.LEVEL2_A,
            "2b": bands.LEVEL2_B,
            "1a": bands.LEVEL1_A,
            "1b": bands.LEVEL1_B,
            "1c": bands.LEVEL1_C,
        }[name]
        return self.v8[:, [start + c for c in channels]], None

    def count(self, name: str, bits: Tensor) -> None:
        """Add the bits a picture of a part, (B,)."""
        self.total = self.total + bits
        self.parts[name] = bits.detach()

    def __call__(
        self, name: str, mean: Tensor, index: Tensor, pictures: Tensor | None = None
    ) -> Tensor:
        v, mask = self._target(name)
        if pictures is None:
            y_hat, bits = likelihood.code(v, mean, index, mask)
        else:
            some, some_bits = likelihood.code(v[pictures], mean, index, mask)
            at = pictures.nonzero()[:, 0]
            y_hat = torch.zeros_like(v).index_put((at,), some)
            bits = self.total.new_zeros(len(v)).index_put((at,), some_bits)
        self.count(name, bits)
        self.decoded[name] = y_hat
        return y_hat

    def assemble(self) -> tuple[Tensor, Tensor]:
        """Decoded latents in steps: (B, 189, ..) at 1/8 and (B, 9, ..) of level 4 at 1/16."""
        d = self.decoded

        def spatial(level: str) -> Tensor:
            b = d[level + "b"]
            return torch.cat((b[:, :3] + d[level + "a"], b[:, 3:]), 1)

        def phased(level: str, order: list[int]) -> Tensor:
            inverse = [0] * len(order)
            for at, channel in enumerate(order):
                inverse[channel] = at
            return torch.cat((d[level + "a"], d[level + "b"]), 1)[:, inverse]

        level2 = phased("2", bands.LEVEL2_A + bands.LEVEL2_B)
        level1 = phased("1", bands.LEVEL1_A + bands.LEVEL1_B)
        chroma = d.get("1c", torch.zeros_like(self.v8[:, -bands.CHROMA1 :]))
        return torch.cat((spatial("3"), level2, level1, chroma), 1), spatial("4")


def median_prediction(ll: Tensor) -> tuple[Tensor, Tensor]:
    """JPEG-LS's predictor over (B, C, H, W), and the local activity |N - NW| + |W - NW|."""
    west = functional.pad(ll[..., :-1], (1, 0))
    north = functional.pad(ll[..., :-1, :], (0, 0, 1, 0))
    corner = functional.pad(ll[..., :-1, :-1], (1, 0, 1, 0))
    plane = west + north - corner
    low, high = torch.minimum(west, north), torch.maximum(west, north)
    activity = (north - corner).abs() + (west - corner).abs()
    return torch.maximum(torch.minimum(plane, high), low), activity


class SicNet(nn.Module):
    """Joint codec: RGB (B, 3, H, W) in [0, 255], sides multiples of 32, to `Output`.

    x -> wavelet -> + f -> / step -> ContextModel -> * step -> + g -> inverse wavelet -> x_hat
                              |-> HyperAnalysis -> z -^
    """

    def __init__(self, config: SicConfig | None = None) -> None:
        super().__init__()
        c = config or SicConfig()
        self.config = c
        self.g_a = Analysis(c.width8, c.width16, c.depth)
        self.g_s = Synthesis(c.width8, c.width16, c.depth)
        self.h_a = HyperAnalysis()
        self.context = ContextModel(c.context, rounded_sums=c.rounded_sums)
        self.gain8 = QualityTable(bands.Y8)
        self.gain16 = QualityTable(bands.Y16)
        self.z_log_scale = nn.Parameter(torch.zeros(HYPER))
        self.ll_scale = nn.Parameter(torch.tensor([[0.0, -1.0, -1.0], [0.8, 0.8, 0.8]]))

    def analyse(self, x: Tensor, position: Tensor) -> tuple[Latents, Tensor]:
        """Latents and semantic features of pictures (B, 3, H, W) at positions (B,)."""
        c8 = wavelet.forward8(wavelet.rgb_to_colours(x))
        ll, level4 = wavelet.forward_level(c8[:, : bands.LL])
        c16 = torch.cat((ll, level4), 1)
        step = base_step(position)[:, None, None, None]
        v8 = torch.cat((contrast(c8[:, : bands.LL]), c8[:, bands.LL :]), 1) / step
        v16 = torch.cat((contrast(ll), level4), 1) / step
        r8, r16, features = self.g_a(compand(v8), compand(v16), position)
        latents = Latents(
            y8=c8[:, bands.LL :] + r8.float() * step,
            y16=c16 + r16.float() * step,
            step8=step * self.gain8(position).exp(),
            step16=step * self.gain16(position).exp(),
        )
        return latents, features

    def synthesise(self, y8: Tensor, y16: Tensor, position: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) from latents in coefficient units."""
        step = base_step(position)[:, None, None, None]
        ll8 = wavelet.inverse_level(y16[:, : bands.LL], y16[:, bands.LL :])
        v8 = torch.cat((contrast(ll8), y8), 1) / step
        v16 = torch.cat((contrast(y16[:, : bands.LL]), y16[:, bands.LL :]), 1) / step
        r8 = self.g_s(compand(v8), compand(v16), position).float() * step
        return wavelet.colours_to_rgb(wavelet.inverse8(torch.cat((ll8, y8), 1) + r8))

    def hyper(self, v8: Tensor, v16: Tensor) -> Tensor:
        """Unrounded hyper-latent of latents in steps."""
        smooth = torch.cat((contrast(v16[:, : bands.LL]), v16[:, bands.LL :]), 1)
        return torch.as_tensor(self.h_a(compand(v8), compand(smooth)))

    def forward(self, x: Tensor, position: Tensor) -> Output:
        latents, _ = self.analyse(x, position)
        return self.code(latents, position)

    def code(self, latents: Latents, position: Tensor) -> Output:
        """Quantise latents, count their bits, and draw the picture that a decoder would."""
        v8, v16 = latents.y8 / latents.step8, latents.y16 / latents.step16
        coder = TrainingCoder(v8, v16)
        z = self.hyper(v8, v16)
        z_hat = z + (torch.round(z) - z).detach()
        z_scale = self.z_log_scale[None, :, None, None]
        coder.count("z", self._bits(z_hat, z, z_scale))
        v_ll = v16[:, : bands.LL]
        ll = v_ll + (torch.round(v_ll) - v_ll).detach()
        prediction, activity = median_prediction(ll)
        offset, slope = self.ll_scale[:, None, :, None, None]
        log_s = offset + slope * torch.log1p(0.5 * activity)
        coder.count("ll", self._bits(ll - prediction, v_ll - prediction, log_s))
        self.context(z_hat, ll, position, coder)
        v8_hat, level4 = coder.assemble()
        y8 = v8_hat * latents.step8
        y16 = torch.cat((ll, level4), 1) * latents.step16
        x_hat = self.synthesise(y8, y16, position)
        return Output(
            x_hat=x_hat,
            bits=coder.total,
            parts=coder.parts,
            before=(latents.y8, latents.y16),
            after=(y8, y16),
        )

    @staticmethod
    def _bits(symbol: Tensor, value: Tensor, log_s: Tensor) -> Tensor:
        """Hard bits with the smooth gradient, as in `TrainingCoder`."""
        smooth = likelihood.bits(value, log_s.detach())
        rate = likelihood.bits(symbol.detach(), log_s) + (smooth - smooth.detach())
        return rate.flatten(1).sum(1)
