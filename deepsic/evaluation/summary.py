"""From rows of single files to averages, curves and BD-rates, with nothing averaged silently.

Averages are over the same images for every codec: an image that one codec failed on is left
out for all, and named. A codec that failed on more than half of the images is left out itself.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from deepsic.errors import counted
from deepsic.evaluation.measure import ORIGINAL, Measurement
from deepsic.evaluation.metrics.accuracy import Accuracy, Prediction, accuracy, agreement
from deepsic.evaluation.metrics.bdrate import Curve, bd_rate
from deepsic.evaluation.metrics.detection import Boxes, DetectionScore, detection

__all__ = ["CodecSummaries", "Point", "ms_ssim_db", "summarise"]

#: Images below which no semantic information is estimated.
_MIN_INFORMATION = 32
QUALITIES = ("mse", "psnr_rgb", "psnr_y", "ssim", "ms_ssim_rgb", "ms_ssim_y")


@dataclass(kw_only=True)
class Point:
    """One codec at one setting (ladder) or one target rate, averaged over images."""

    codec: str
    kind: str
    setting: float
    """The knob of the ladder, or the target bpp; 0 for the uncompressed images."""
    pictures: int
    bpp: float
    """Mean over images."""
    off: int = 0
    """Images whose file missed the target by more than the tolerance."""
    failed: int = 0
    """Images without a file."""
    quality: dict[str, float] = field(default_factory=dict)
    """Means of `QUALITIES`; one is absent if it is undefined for any image."""
    encode_s: float | None = None
    """Median, seconds."""
    decode_s: float | None = None
    accuracy: dict[str, Accuracy] = field(default_factory=dict)
    """By classifier, where labels are known."""
    agreement: dict[str, float] = field(default_factory=dict)
    """By classifier: share of first classes equal to those of the uncompressed images."""
    detection: dict[str, DetectionScore] = field(default_factory=dict)
    information: dict[str, float] = field(default_factory=dict)
    """By classifier among few classes: semantic information SI, nats (SAIC Eq. 11)."""


@dataclass(kw_only=True)
class CodecSummaries:
    """What a run found."""

    points: list[Point]
    failures: dict[str, str]
    """ "picture, codec" → why there is no file."""
    left_out: dict[str, str]
    """Images and codecs left out of the averages → why."""

    def of(self, codec: str, kind: str) -> list[Point]:
        """The points of one codec, by rate."""
        found = [p for p in self.points if p.codec == codec and p.kind == kind]
        return sorted(found, key=lambda point: point.bpp)

    def codecs(self) -> list[str]:
        """Codecs with points, in the order of the run, without the uncompressed images."""
        return list(dict.fromkeys(p.codec for p in self.points if p.codec != ORIGINAL))

    def curve(self, codec: str, quality: str) -> Curve | None:
        """Rate and mean quality over the ladder; MS-SSIM in dB; None if not measured."""
        points = [p for p in self.of(codec, "ladder") if quality in p.quality]
        if not points:
            return None
        scale: Callable[[float], float] = ms_ssim_db if "ssim" in quality else float
        return Curve([p.bpp for p in points], [scale(p.quality[quality]) for p in points])

    def bd_rates(self, anchor: str, quality: str) -> dict[str, float]:
        """Rate of each codec against `anchor` at equal mean quality, percent."""
        base = self.curve(anchor, quality)
        rates: dict[str, float] = {}
        for codec in self.codecs():
            curve = self.curve(codec, quality)
            rate = None if base is None or curve is None else bd_rate(base, curve)
            if rate is not None:
                rates[codec] = rate
        return rates

    def bd_rates_accuracy(self, anchor: str, evaluator: str) -> dict[str, float]:
        """The same at equal top-1 accuracy, over the target rates."""
        curves = {
            codec: Curve([p.bpp for p in points], [p.accuracy[evaluator].top1 for p in points])
            for codec in self.codecs()
            if (points := [p for p in self.of(codec, "target") if evaluator in p.accuracy])
        }
        if anchor not in curves:
            return {}
        found = {c: bd_rate(curves[anchor], curve, rates=None) for c, curve in curves.items()}
        return {codec: rate for codec, rate in found.items() if rate is not None}


def ms_ssim_db(value: float) -> float:
    """MS-SSIM on a scale where equal steps look equal: -10 log10(1 - value)."""
    return -10 * math.log10(max(1 - value, 1e-10))


def summarise(
    rows: Iterable[Measurement], *, tolerance: float = 0.02, classes: Sequence[int] | None = None
) -> CodecSummaries:
    """Average the rows of a run.

    Args:
        tolerance: a file further from its target counts as off.
        classes: detector's class numbers that are annotated, if not all.
    """
    rows = list(rows)
    failures = {f"{row.picture}, {row.codec}": row.error for row in rows if row.error}
    codecs, left_out = _fair(rows)
    pictures = {row.picture for row in rows} - set(left_out)
    originals = {row.picture: row for row in rows if row.kind == "original"}
    groups: dict[tuple[str, str, float], list[Measurement]] = defaultdict(list)
    for row in rows:
        if row.codec in codecs:
            setting = row.target if row.kind == "target" else row.knob
            groups[row.codec, row.kind, setting or 0.0].append(row)
    points = []
    for (codec, kind, setting), members in groups.items():
        good = [row for row in members if row.error is None and row.picture in pictures]
        if not good:
            continue
        point = Point(
            codec=codec, kind=kind, setting=setting, pictures=len(good),
            bpp=_mean(row.bpp if row.bpp is not None else 24.0 for row in good),
            off=sum(abs(row.off) > tolerance for row in good if row.off is not None),
            failed=sum(row.error is not None for row in members),
            quality=_qualities(good),
            encode_s=_median(row.encode_s for row in good),
            decode_s=_median(row.decode_s for row in good),
        )  # fmt: skip
        _evaluated(point, good, originals, classes)
        points.append(point)
    return CodecSummaries(points=points, failures=failures, left_out=left_out)


def _fair(rows: Sequence[Measurement]) -> tuple[set[str], dict[str, str]]:
    """Codecs to average, and images and codecs to leave out with the reason."""
    all_images = {row.picture for row in rows}
    failed: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.error is not None:
            failed[row.codec].add(row.picture)
    codecs = {row.codec for row in rows}
    left_out: dict[str, str] = {}
    for codec, names in failed.items():
        if 2 * len(names) > len(all_images):
            codecs.discard(codec)
            left_out[codec] = f"failed on {len(names)} of {counted(len(all_images), 'image')}"
    for codec in sorted(codecs):
        for name in sorted(failed.get(codec, ())):
            left_out.setdefault(name, f"{codec} failed on it")
    return codecs, left_out


def _evaluated(
    point: Point,
    rows: Sequence[Measurement],
    originals: dict[str, Measurement],
    classes: Sequence[int] | None,
) -> None:
    names = dict.fromkeys(name for row in rows for name in row.seen)
    for name in names:
        seen = [row for row in rows if name in row.seen]
        before = [originals[row.picture] for row in seen]
        if "boxes" in seen[0].seen[name]:
            true = [(row, base) for row, base in zip(seen, before, strict=True) if base.boxes]
            if true:
                point.detection[name] = detection(
                    [Boxes(**row.seen[name]) for row, _ in true],
                    [Boxes(**base.boxes) for _, base in true if base.boxes],
                    classes,
                )
            continue
        guesses = [Prediction(tuple(row.seen[name]["top"])) for row in seen]
        point.agreement[name] = agreement(
            guesses, [Prediction(tuple(base.seen[name]["top"])) for base in before]
        )
        labels = [base.label for base in before]
        known = [label for label in labels if label is not None]
        if len(known) == len(labels):
            point.accuracy[name] = accuracy(guesses, known)
        information = _information(name, seen, before)
        if information is not None:
            point.information[name] = information


def _information(
    name: str, rows: Sequence[Measurement], originals: Sequence[Measurement]
) -> float | None:
    """SI between a classifier's logits before and after; None for few images or no logits."""
    if len(rows) < _MIN_INFORMATION or "logits" not in rows[0].seen[name]:
        return None
    import torch

    from deepsic.evaluation.metrics.semantic_information import semantic_information

    before = torch.tensor([row.seen[name]["logits"] for row in originals])
    after = torch.tensor([row.seen[name]["logits"] for row in rows])
    return semantic_information(before, after, seeds=(0,), resamples=10).value


def _qualities(rows: Sequence[Measurement]) -> dict[str, float]:
    found = {}
    for name in QUALITIES:
        values = [getattr(row, name) for row in rows]
        if None not in values:
            found[name] = statistics.fmean(values)
    return found


def _mean(values: Iterable[float]) -> float:
    return statistics.fmean(values)


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
