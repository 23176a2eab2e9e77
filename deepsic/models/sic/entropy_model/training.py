"""The entropy model in training: rounds pass by pass, with gradients, and counts bits."""

from __future__ import annotations

import torch
from torch import Tensor

from deepsic.coding.binarisation import SKIP
from deepsic.models.sic.entropy_model import likelihood, likelihood_cpu
from deepsic.models.sic.entropy_model.context import checkerboard
from deepsic.models.sic.passes import PLANS
from deepsic.models.sic.wavelet import bands

__all__ = ["TrainingCoder", "rounded", "rounded_plainly"]


class TrainingCoder:
    """Quantises pass by pass with straight-through gradients, and adds up the bits."""

    def __init__(self, v8: Tensor, v16: Tensor) -> None:
        self.v8, self.v16 = v8, v16
        self.total = v8.new_zeros(v8.shape[0])
        self.parts: dict[str, Tensor] = {}
        self.decoded: dict[str, Tensor] = {}
        even8, even16 = (checkerboard(v.shape[2], v.shape[3], v.device) for v in (v8, v16))
        self._even = {8: even8, 16: even16}

    def _target(self, name: str) -> tuple[Tensor, Tensor | None]:
        """Latents of a pass, in steps, and the mask of those that it codes (None: all)."""
        plan = PLANS[name]
        v = (self.v8 if plan.tensor == 8 else self.v16)[:, plan.channels.tolist()]
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
