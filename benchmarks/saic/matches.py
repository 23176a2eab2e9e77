"""Mean average precision at an overlap of 0.5 with its interval: a bootstrap over images.

Whether a found object meets a true one depends on its image alone, so objects are matched once and
each draw of images only weighs them anew. Codecs on the same images get the same draws: what one
gains over another is paired.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.saic.summary import Interval
from deepsic.evaluation.metrics.detection import Boxes

__all__ = ["MatchedObjects", "draws", "interval", "map50", "match"]

_OVERLAP = 0.5
_RESAMPLES = 1000
#: COCO reads the precision at a recall of 0, 0.01 .. 1; in 32 bits, as torchmetrics has them.
_RECALLS = torch.linspace(0, 1, 101).double().numpy()


@dataclass(frozen=True)
class MatchedObjects:
    """Objects found in all images, surest first, and how many true ones each image has."""

    images: NDArray[np.int64]
    labels: NDArray[np.int64]
    hits: NDArray[np.bool_]
    true: NDArray[np.int64]
    """Images x classes."""

    def save(self, path: Path) -> None:
        """Write a file that `load` reads."""
        np.savez_compressed(path, allow_pickle=False, **vars(self))

    @classmethod
    def load(cls, path: Path) -> MatchedObjects:
        """Read what `save` wrote."""
        return cls(**np.load(path))


def match(
    found: Sequence[Boxes], true: Sequence[Boxes], known: Sequence[Collection[int]], classes: int
) -> MatchedObjects:
    """Give each found object, surest first, the free true one of its class that it covers most.

    Args:
        known: classes that are annotated in each image; objects of others don't count.
        classes: how many there are.
    """
    rows: list[tuple[float, int, int, bool]] = []
    counts = np.zeros((len(true), classes), np.int64)
    for image, (mine, theirs) in enumerate(zip(found, true, strict=True)):
        np.add.at(counts[image], list(theirs.labels), 1)
        free = [True] * len(theirs.labels)
        scores = list(mine.scores or ())
        for at in sorted(range(len(scores)), key=lambda at: -scores[at]):
            label = mine.labels[at]
            if label not in known[image]:
                continue
            best, chosen = _OVERLAP, -1
            for other, box in enumerate(theirs.boxes):
                if free[other] and theirs.labels[other] == label:
                    overlap = _overlap(mine.boxes[at], box)
                    if overlap >= best:
                        best, chosen = overlap, other
            if chosen >= 0:
                free[chosen] = False
            rows.append((scores[at], image, label, chosen >= 0))
    rows.sort(key=lambda row: -row[0])
    return MatchedObjects(
        images=np.array([row[1] for row in rows], np.int64),
        labels=np.array([row[2] for row in rows], np.int64),
        hits=np.array([row[3] for row in rows], bool),
        true=counts,
    )


def map50(matches: MatchedObjects, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over classes of average precision, in [0, 1], for each row of weights of the images."""
    scores = np.full((len(weights), matches.true.shape[1]), np.nan)
    for label in np.flatnonzero(matches.true.sum(0)):
        total = weights @ matches.true[:, label]
        mine = matches.labels == label
        counted = weights[:, matches.images[mine]]
        hits = np.cumsum(counted * matches.hits[mine], 1)
        precision = hits / np.maximum(np.cumsum(counted, 1), 1e-12)
        highest = np.maximum.accumulate(precision[:, ::-1], 1)[:, ::-1]
        highest = np.pad(highest, ((0, 0), (0, 1)))  # what recall was never reached: 0
        for row in np.flatnonzero(total):
            at = np.searchsorted(hits[row] / total[row], _RECALLS)
            scores[row, label] = highest[row, at].mean()
    return np.asarray(np.nanmean(scores, 1))


def draws(matches: MatchedObjects) -> NDArray[np.float64]:
    """mAP50 of the images themselves, then of each draw of as many, in per cent."""
    count = len(matches.true)
    rng = np.random.default_rng(0)
    weights = np.ones((1 + _RESAMPLES, count))
    for row in weights[1:]:
        row[:] = np.bincount(rng.integers(0, count, count), minlength=count)
    return 100 * map50(matches, weights)


def interval(values: NDArray[np.float64]) -> Interval:
    """The first value, and 95 % of the others around it."""
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return Interval(float(values[0]), float(low), float(high))


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return width * height / (sum(areas) - width * height)
