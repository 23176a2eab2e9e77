"""The entropy model in training: rounds pass by pass, with gradients, and counts bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from deepsic.coding.binarisation import SKIP
from deepsic.models.sic.entropy_model import likelihood, likelihood_cpu
from deepsic.models.sic.entropy_model.context import checkerboard
from deepsic.models.sic.passes import PLANS
from deepsic.models.sic.wavelet import bands
from deepsic.models.sweeps_cpu import Picked, Placed

PASSES8 = tuple(name for name, plan in PLANS.items() if plan.tensor == 8)
PASSES16 = tuple(name for name, plan in PLANS.items() if plan.tensor == 16)

__all__ = ["TrainingCoder", "rounded", "rounded_plainly"]


class TrainingCoder:
    """Quantises pass by pass with straight-through gradients, and adds up the bits."""

    def __init__(self, v8: Tensor, v16: Tensor) -> None:
        self.v8 = v8
        self._coded = _picked(v8, PASSES8) | _picked(v16, PASSES16)
        self.total = v8.new_zeros(v8.shape[0])
        self.parts: dict[str, Tensor] = {}
        self.decoded: dict[str, Tensor] = {}
        even8, even16 = (checkerboard(v.shape[2], v.shape[3], v.device) for v in (v8, v16))
        self._even = {8: even8, 16: even16}

    def _target(self, name: str) -> tuple[Tensor, Tensor | None]:
        """Latents of a pass, in steps, and the mask of those that it codes (None: all)."""
        plan, v = PLANS[name], self._coded[name]
        if (plan.parity < 0).all():
            return v, None
        even = self._even[plan.tensor]
        masks = {0: even, 1: 1.0 - even, -1: torch.ones_like(even)}
        return v, torch.cat([masks[parity] for parity in plan.parity.tolist()], 1)

    def count(self, name: str, bits: Tensor) -> None:
        """Add the bits a picture of a part, (B,)."""
        self.total = self.total + bits
        self.parts[name] = bits.detach()

    def __call__(
        self, name: str, mean: Tensor, index: Tensor, images: Tensor | None = None
    ) -> Tensor:
        v, mask = self._target(name)
        if images is not None:
            mask = images.to(v.dtype)[:, None, None, None]
        y_hat, bits = rounded(v, mean, index, mask)
        self.count(name, bits)
        self.decoded[name] = y_hat
        return y_hat

    def assemble(self) -> tuple[Tensor, Tensor]:
        """Decoded latents in steps: (B, 189, ..) at 1/8 and (B, 9, ..) of level 4 at 1/16."""
        return _placed(self.decoded, PASSES8, bands.Y8), _placed(self.decoded, PASSES16, bands.Y16)[
            :, bands.LL :
        ]


def _picked(v: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """The channels of each pass, in coding order."""
    if v.device.type == "cpu":
        parts = Picked.apply(v, [PLANS[name].channels for name in names])
    else:
        parts = [v[:, PLANS[name].channels.tolist()] for name in names]
    return dict(zip(names, parts, strict=True))


def _placed(coded: Mapping[str, Tensor], names: Sequence[str], channels: int) -> Tensor:
    """Inverse of `_picked`: what two passes code of a channel, at positions of their own, adds."""
    parts = [coded[name] for name in names]
    if parts[0].device.type == "cpu":
        return torch.as_tensor(
            Placed.apply([PLANS[name].channels for name in names], channels, *parts)
        )
    b, _, h, w = parts[0].shape
    whole = parts[0].new_zeros(b, channels, h, w)
    for name, part in zip(names, parts, strict=True):
        whole = whole.index_add(1, torch.tensor(PLANS[name].channels, device=part.device), part)
    return whole


def rounded(v: Tensor, mean: Tensor, index: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Quantise latents (in steps) against their prediction, with gradients for training.

    The rate of the rounded symbols teaches the probability model; the smooth rate of the unrounded
    residual, whose gradient lives inside the zero bin too, teaches transform and mean.

    Args:
        v: latents in steps, (B, C, H, W).
        mean: their prediction, same shape.
        index: fractional scale class, same shape.
        mask: 1 for what is coded, broadcastable; None for all.

    Returns:
        y_hat of v's shape (0 outside the mask), and bits (B,).
    """
    if v.device.type == "cpu":
        return likelihood_cpu.rounded(v, mean, index, mask)
    return rounded_plainly(v, mean, index, mask)


def rounded_plainly(
    v: Tensor, mean: Tensor, index: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """As `rounded`, in torch's own operations: what accelerators run."""
    log_s = likelihood.log_scale(index)
    residual = v - mean
    with torch.no_grad():
        symbol = likelihood.quantise(residual, torch.full_like(index, likelihood.SCALES), log_s)
        kept = torch.where(index < SKIP + 0.5, torch.zeros_like(symbol), symbol)
    smooth = likelihood.bits(residual, log_s.detach())
    rate = likelihood.bits(symbol, log_s) + (smooth - smooth.detach())
    pulled = mean + (1 - likelihood.ZERO_SHARE) * (v - v.detach())
    y_hat = torch.where(kept == 0, pulled, v + (mean + kept - v).detach())
    if mask is not None:
        rate, y_hat = rate * mask, y_hat * mask
    return y_hat, rate.flatten(1).sum(1)
