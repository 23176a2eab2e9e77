"""Find the setting of a codec that makes a file of a wanted size."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from deepsic.errors import UsageError
from deepsic.evaluation.baselines.base import EncodedFile, MeasuredCodec, encode_timed
from deepsic.evaluation.metrics.rate import bits_per_pixel

__all__ = ["Hit", "Memory", "search_bpp"]

_SMALL_GAP = 0.3


@dataclass(frozen=True, kw_only=True)
class Hit(EncodedFile):
    """The file nearest to the size that was asked for."""

    bpp: float
    """Of the whole file."""
    off: float
    """How far from the target, as a share of it: 0.01 is 1 % too large."""

    def within(self, tolerance: float) -> bool:
        """Whether the size is as asked, but for `tolerance` (a share)."""
        return abs(self.off) <= tolerance


class Memory:
    """Where codecs reached their rates on earlier images: first guesses for the next one."""

    def __init__(self) -> None:
        self._learnt: dict[tuple[str, float], tuple[float, float]] = {}

    def guess(self, coder: MeasuredCodec, bpp: float) -> tuple[float, float] | None:
        """Knob for `bpp` and log rate a step of the knob, as on the last image."""
        return self._learnt.get((coder.name, bpp))

    def learn(
        self, coder: MeasuredCodec, bpp: float, points: Sequence[tuple[float, float]]
    ) -> None:
        """Keep what (knob, log rate over the goal) of one image say."""
        near = sorted(sorted(points, key=lambda point: abs(point[1]))[:2])
        if len(near) < 2 or near[1][1] <= near[0][1]:
            return
        slope = (near[1][1] - near[0][1]) / (near[1][0] - near[0][0])
        self._learnt[coder.name, bpp] = (near[0][0] - near[0][1] / slope, slope)


def search_bpp(
    coder: MeasuredCodec,
    image: Image.Image,
    bpp: float,
    *,
    tolerance: float = 0.02,
    tries: int = 16,
    known: dict[float, EncodedFile] | None = None,
    memory: Memory | None = None,
) -> Hit:
    """Encode `image` to the whole-file rate `bpp`, within `tolerance` where the codec can.

    Regula falsi on log rate over the knob, with halving when it stalls. A codec whose steps are
    too coarse, or whose smallest file is too large, gives its nearest file: see `Hit.off`.

    Args:
        tolerance: share of `bpp` at which to stop.
        tries: bound on encodings beyond those known.
        known: encodings of this very image; the search starts from them and adds its own.
        memory: what earlier images taught; the search learns from it and adds to it.

    Raises: `InputError` when the codec refuses the image.
    """
    if bpp <= 0:
        raise UsageError(f"bpp={bpp} must be positive")
    if coder.rate_control and (made := _by_itself(coder, image, bpp)) is not None:
        return _hit(made, image, bpp)
    known = {} if known is None else known
    memory = Memory() if memory is None else memory
    goal = math.log(bpp)
    for attempt in range(tries):
        best = _nearest(known, image, goal)
        if best is not None and abs(math.expm1(_log_bpp(best, image) - goal)) <= tolerance:
            break
        guess = memory.guess(coder, bpp)
        knob = _next_knob(coder, image, bpp, known, guess, halve=attempt % 3 == 2)
        if knob is None:
            break
        known[knob] = encode_timed(coder, image, knob)
    best = _nearest(known, image, goal)
    memory.learn(coder, bpp, [(k, _log_bpp(made, image) - goal) for k, made in known.items()])
    if best is None:
        raise UsageError(f"tries={tries} must be at least 1")
    if abs(math.expm1(_log_bpp(best, image) - goal)) > tolerance:
        own = _by_itself(coder, image, bpp)
        best = min(
            (made for made in (best, own) if made is not None),
            key=lambda made: abs(_log_bpp(made, image) - goal),
        )
    return _hit(best, image, bpp)


def _hit(made: EncodedFile, image: Image.Image, bpp: float) -> Hit:
    rate = bits_per_pixel(len(made.blob), image.width, image.height)
    return Hit(blob=made.blob, knob=made.knob, seconds=made.seconds, bpp=rate, off=rate / bpp - 1)


def _by_itself(coder: MeasuredCodec, image: Image.Image, bpp: float) -> EncodedFile | None:
    """What the codec's own rate control gives; None if it has none or can't."""
    started = time.perf_counter()
    blob = coder.at_rate(image, bpp)
    if blob is None:
        return None
    return EncodedFile(blob=blob, knob=None, seconds=time.perf_counter() - started)


def _log_bpp(made: EncodedFile, image: Image.Image) -> float:
    return math.log(bits_per_pixel(len(made.blob), image.width, image.height))


def _nearest(
    known: dict[float, EncodedFile], image: Image.Image, goal: float
) -> EncodedFile | None:
    return min(known.values(), key=lambda made: abs(_log_bpp(made, image) - goal), default=None)


def _next_knob(
    coder: MeasuredCodec,
    image: Image.Image,
    bpp: float,
    known: dict[float, EncodedFile],
    guess: tuple[float, float] | None,
    *,
    halve: bool,
) -> float | None:
    """The knob to try next, between the nearest known below and above; None if there is none."""
    first = coder.start(image, bpp)
    if first is not None and _snap(coder, first) not in known:
        return _snap(coder, first)
    if not known:
        return _snap(coder, guess[0] if guess else (coder.low + coder.high) / 2)
    goal = math.log(bpp)
    points = sorted((knob, _log_bpp(made, image) - goal) for knob, made in known.items())
    below = max((point for point in points if point[1] < 0), default=None)
    above = min((point for point in points if point[1] >= 0), default=None)
    if below is None or above is None:
        return _beyond(coder, points, guess[1] if guess else None, upwards=above is None)
    if above[0] - below[0] <= coder.step * 1.001:
        return None
    share = 0.5 if halve else -below[1] / (above[1] - below[1])
    # Never onto an end: that is known already.
    width = above[0] - below[0]
    margin = min(max(0.05 * width, coder.step), width / 2)
    knob = _snap(coder, below[0] + min(max(share * width, margin), width - margin))
    return None if knob in known else knob


def _beyond(
    coder: MeasuredCodec, points: list[tuple[float, float]], slope: float | None, *, upwards: bool
) -> float | None:
    """A knob outside of all that is known, towards the end of the codec's range."""
    inner = points[-1][0] if upwards else points[0][0]
    end = coder.high if upwards else coder.low
    if len(points) > 1:
        (k0, r0), (k1, r1) = points[-2:] if upwards else points[:2]
        slope = (r1 - r0) / (k1 - k0)
    if slope is not None:
        rise = -points[-1][1] if upwards else -points[0][1]
        # From afar a little too far, so that the goal lies between; from near, straight at it.
        reach = 1.3 if abs(rise) > _SMALL_GAP else 1.0
        knob = inner + reach * rise / slope if slope > 0 else end
    else:
        knob = (inner + end) / 2
    knob = _snap(coder, min(max(knob, coder.low), coder.high))
    if knob == inner:
        knob = end
    return None if any(knob == point[0] for point in points) else knob


def _snap(coder: MeasuredCodec, knob: float) -> float:
    """The nearest knob on the codec's grid, within its range."""
    snapped = coder.low + round((knob - coder.low) / coder.step) * coder.step
    return round(min(max(snapped, coder.low), coder.high), 6)
