"""BD-rate: the average difference in rate between two codecs at equal quality.

Bjøntegaard's method (VCEG-M33) with monotone cubic interpolation (PCHIP) of log rate over
quality, by the package `bjontegaard`. The interval of quality is where both curves exist and
where the anchor's rate is within `rates`: without that bound, two curves that reach into useless
rates (0.05 bpp, 4 bpp) are compared mostly there.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepsic.errors import UsageError

__all__ = ["BPP_RANGE", "Curve", "bd_rate"]

#: bpp of the anchor between which still-image codecs are compared here.
BPP_RANGE = (0.1, 1.6)


@dataclass(frozen=True)
class Curve:
    """Rate and quality of one codec over its settings; quality grows with rate."""

    bpp: Sequence[float]
    """Bits per pixel, positive."""
    quality: Sequence[float]
    """PSNR (dB), MS-SSIM or accuracy: more is better."""

    def __post_init__(self) -> None:
        if len(self.bpp) != len(self.quality):
            raise UsageError(f"{len(self.bpp)} rates, but {len(self.quality)} qualities")
        if any(not math.isfinite(value) for value in (*self.bpp, *self.quality)):
            raise UsageError("a curve's points must be finite numbers")
        if any(rate <= 0 for rate in self.bpp):
            raise UsageError("a curve's rates must be positive")

    def rising(self) -> Curve:
        """The points sorted by rate, without those no better than a cheaper one."""
        points: list[tuple[float, float]] = []
        for rate, quality in sorted(zip(self.bpp, self.quality, strict=True)):
            if not points or (quality > points[-1][1] and rate > points[-1][0]):
                points.append((rate, quality))
        return Curve([rate for rate, _ in points], [quality for _, quality in points])

    def quality_at(self, bpp: float) -> float | None:
        """Quality at a rate, interpolated over log rate; None outside of the curve."""
        from scipy.interpolate import PchipInterpolator

        curve = self.rising()
        if len(curve.bpp) < 2 or not curve.bpp[0] <= bpp <= curve.bpp[-1]:
            return None
        return float(PchipInterpolator(np.log(curve.bpp), curve.quality)(math.log(bpp)))


def bd_rate(
    anchor: Curve, test: Curve, rates: tuple[float, float] | None = BPP_RANGE
) -> float | None:
    """Rate that `test` needs beyond `anchor` for the same quality, percent; negative is better.

    Args:
        rates: bpp of the anchor that bound the comparison; None for all that both curves share.

    Returns: None if the curves share no quality, or either has fewer than two rising points.
    """
    a, b = anchor.rising(), test.rising()
    if len(a.bpp) < 2 or len(b.bpp) < 2:
        return None
    low, high = _interval(a, b, rates)
    if not low < high:
        return None
    f_anchor, f_test = _log_rates(a, b)
    difference = f_test.integrate(low, high) - f_anchor.integrate(low, high)
    return float(10 ** (difference / (high - low)) - 1) * 100


def _interval(a: Curve, b: Curve, rates: tuple[float, float] | None) -> tuple[float, float]:
    low, high = a.quality[0], a.quality[-1]
    if rates is not None:
        ends = [min(max(rate, a.bpp[0]), a.bpp[-1]) for rate in rates]
        low, high = (a.quality_at(rate) or 0.0 for rate in ends)
    return max(low, b.quality[0]), min(high, b.quality[-1])


def _log_rates(a: Curve, b: Curve) -> tuple[Any, Any]:
    """Log10 of the rate of both curves as functions of quality."""
    import bjontegaard

    with warnings.catch_warnings():  # it warns of little overlap, which the interval settles
        warnings.simplefilter("ignore", UserWarning)
        _, f_anchor, f_test = bjontegaard.bd_rate(
            a.bpp, a.quality, b.bpp, b.quality, method="pchip",
            require_matching_points=False, interpolators=True, min_overlap=0,
        )  # fmt: skip
    return f_anchor, f_test
