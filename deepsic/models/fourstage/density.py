"""Eq. 5 and 6: masses of the quantised features, and the rate.

    P_yi(n) = integral of p_yi(t) dt over [n - 1/2, n + 1/2]                          Eq. 5
    R       = E[ sum_i -log2 P_yi(n) ]                                                Eq. 6

The paper prints Eq. 6 without the minus that makes R a length. Its density is trained for each
channel; here a mixture of logistics, whose integral is closed and whose tails never vanish.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deepsic.models.fourstage.quantiser import levels

__all__ = ["ChannelDensity", "rate"]

_TINY = 1e-7


def rate(masses: Tensor) -> Tensor:
    """Eq. 6: masses (B, ...) of what was coded to bits (B,) for each image."""
    return -torch.log2(masses).flatten(1).sum(1)


class ChannelDensity(nn.Module):
    """A density for each channel, over features in the unit that the net gives them.

    Kept in that unit, and not in levels, so that one density serves every gain: a level that is
    half as wide holds the mass of half the interval.
    """

    def __init__(self, channels: int, parts: int = 3) -> None:
        super().__init__()
        self.centre = nn.Parameter(torch.zeros(channels, parts))
        self.log_scale = nn.Parameter(
            torch.linspace(-1.5, 1.0, parts).expand(channels, parts).clone()
        )
        self.logits = nn.Parameter(torch.zeros(channels, parts))

    def cumulative(self, t: Tensor, fixed: bool = False) -> Tensor:
        """P(f <= t) for t (B, C, H, W); if `fixed`, the density takes no gradient."""
        parameters = (self.centre, self.log_scale, self.logits)
        centre, log_scale, logits = (p.detach() if fixed else p for p in parameters)
        shape = (1, -1, 1, 1)
        weight = torch.softmax(logits, 1)
        total = torch.zeros_like(t)
        for k in range(centre.shape[1]):
            at = (t - centre[:, k].view(shape)) * torch.exp(-log_scale[:, k]).view(shape)
            total = total + weight[:, k].view(shape) * torch.sigmoid(at)
        return total

    def masses(
        self, n: Tensor, to_feature: tuple[Tensor, Tensor], bits: int = 6, fixed: bool = False
    ) -> Tensor:
        """Eq. 5, in (0, 1].

        Args:
            n: levels (B, C, H, W), whole or, for the encoder's gradient, not.
            to_feature: scale and shift, broadcastable, of `f = (n + shift) * scale`.
            bits: B; the outermost levels also hold all that was clamped.
            fixed: the density takes no gradient, only n does.
        """
        scale, shift = to_feature
        low, high = levels(bits)
        below = self.cumulative((n - 0.5 + shift) * scale, fixed)
        above = self.cumulative((n + 0.5 + shift) * scale, fixed)
        below = torch.where(n <= low, torch.zeros_like(below), below)
        above = torch.where(n >= high, torch.ones_like(above), above)
        return (above - below).clamp(min=_TINY)
