"""Find the setting of a codec that makes a file of a wanted size."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from PIL import Image

from deepsic.errors import UsageError
from deepsic.metrics.rate import bits_per_pixel
from deepsic.rivals.base import Coder, Encoded, encode_timed

__all__ = ["Hit", "search_bpp"]


@dataclass(frozen=True, kw_only=True)
class Hit(Encoded):
    """The file nearest to the size that was asked for."""

    bpp: float
    """Of the whole file."""
    off: float
    """How far from the target, as a share of it: 0.01 is 1 % too large."""

    def within(self, tolerance: float) -> bool:
        """Whether the size is as asked, but for `tolerance` (a share)."""
        return abs(self.off) <= tolerance


def search_bpp(
    coder: Coder,
    image: Image.Image,
    bpp: float,
    *,
    tolerance: float = 0.02,
    tries: int = 16,
    known: dict[float, Encoded] | None = None,
) -> Hit:
    """Encode `image` to the whole-file rate `bpp`, within `tolerance` where the codec can.

    Regula falsi on log rate over the knob, with halving when it stalls. A codec whose steps are
    too coarse, or whose smallest file is too large, gives its nearest file: see `Hit.off`.

    Args:
        tolerance: share of `bpp` at which to stop.
        tries: bound on encodings beyond those known.
        known: encodings of this very picture; the search starts from them and adds its own.

    Raises: `InputError` when the codec refuses the picture.
    """
    if bpp <= 0:
        raise UsageError(f"bpp={bpp} must be positive")
    known = {} if known is None else known
    goal = math.log(bpp)
    for attempt in range(tries):
        best = _nearest(known, image, goal)
        if best is not None and abs(math.expm1(_log_bpp(best, image) - goal)) <= tolerance:
            break
        knob = _next_knob(coder, image, bpp, known, halve=attempt % 3 == 2)
        if knob is None:
            break
        known[knob] = encode_timed(coder, image, knob)
    best = _nearest(known, image, goal)
    if best is None:
        raise UsageError(f"tries={tries} must be at least 1")
    if abs(math.expm1(_log_bpp(best, image) - goal)) > tolerance:
        best = _by_itself(coder, image, bpp, best)
    rate = math.exp(_log_bpp(best, image))
    return Hit(blob=best.blob, knob=best.knob, seconds=best.seconds, bpp=rate, off=rate / bpp - 1)


def _by_itself(coder: Coder, image: Image.Image, bpp: float, best: Encoded) -> Encoded:
    """What the codec's own rate control gives, if that is nearer than `best`."""
    started = time.perf_counter()
    blob = coder.at_rate(image, bpp)
    if blob is None:
        return best
    made = Encoded(blob=blob, knob=None, seconds=time.perf_counter() - started)
    return min(best, made, key=lambda entry: abs(_log_bpp(entry, image) - math.log(bpp)))


def _log_bpp(made: Encoded, image: Image.Image) -> float:
    return math.log(bits_per_pixel(len(made.blob), image.width, image.height))


def _nearest(known: dict[float, Encoded], image: Image.Image, goal: float) -> Encoded | None:
    return min(known.values(), key=lambda made: abs(_log_bpp(made, image) - goal), default=None)


def _next_knob(
    coder: Coder, image: Image.Image, bpp: float, known: dict[float, Encoded], *, halve: bool
) -> float | None:
    """The knob to try next, between the nearest known below and above; None if there is none."""
    first = coder.start(image, bpp)
    if first is not None and _snap(coder, first) not in known:
        return _snap(coder, first)
    if not known:
        return _snap(coder, (coder.low + coder.high) / 2)
    goal = math.log(bpp)
    points = sorted((knob, _log_bpp(made, image) - goal) for knob, made in known.items())
    below = max((point for point in points if point[1] < 0), default=None)
    above = min((point for point in points if point[1] >= 0), default=None)
    if below is None or above is None:
        return _beyond(coder, points, upwards=above is None)
    if above[0] - below[0] <= coder.step * 1.001:
        return None
    share = 0.5 if halve else -below[1] / (above[1] - below[1])
    # Never onto an end: that is known already.
    width = above[0] - below[0]
    margin = min(max(0.05 * width, coder.step), width / 2)
    knob = _snap(coder, below[0] + min(max(share * width, margin), width - margin))
    return None if knob in known else knob


def _beyond(coder: Coder, points: list[tuple[float, float]], *, upwards: bool) -> float | None:
    """A knob outside of all that is known, towards the end of the codec's range."""
    inner = points[-1][0] if upwards else points[0][0]
    end = coder.high if upwards else coder.low
    if len(points) > 1:
        (k0, r0), (k1, r1) = points[-2:] if upwards else points[:2]
        slope = (r1 - r0) / (k1 - k0)
        gap = (-points[-1][1] if upwards else -points[0][1]) / slope if slope > 0 else math.inf
        knob = inner + 1.3 * gap if math.isfinite(gap) else end
    else:
        knob = (inner + end) / 2
    knob = _snap(coder, min(max(knob, coder.low), coder.high))
    if knob == inner:
        knob = end
    return None if any(knob == point[0] for point in points) else knob


def _snap(coder: Coder, knob: float) -> float:
    """The nearest knob on the codec's grid, within its range."""
    snapped = coder.low + round((knob - coder.low) / coder.step) * coder.step
    return round(min(max(snapped, coder.low), coder.high), 6)
