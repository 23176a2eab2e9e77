"""What a detector still finds on decoded images: COCO's mean average precision."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deepsic.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Boxes", "DetectionScore", "detection"]


@dataclass(frozen=True, kw_only=True)
class Boxes:
    """Objects of one image, found or true."""

    boxes: Sequence[Sequence[float]]
    """Corners x1, y1, x2, y2, pixels."""
    labels: Sequence[int]
    """Class numbers."""
    scores: Sequence[float] | None = None
    """In [0, 1]; None for true objects."""


@dataclass(frozen=True, kw_only=True)
class DetectionScore:
    """Mean average precision, in [0, 1]; None where no class had a true object."""

    pictures: int
    map50: float | None
    """At an overlap (IoU) of 0.5: Pascal VOC's measure."""
    map: float | None
    """Mean over overlaps of 0.5 to 0.95: COCO's measure."""


def detection(
    found: Sequence[Boxes], true: Sequence[Boxes], classes: Collection[int] | None = None
) -> DetectionScore:
    """Score found objects against true ones, image by image.

    Args:
        classes: score these class numbers alone, where others are not annotated.

    Raises: `UsageError` on different lengths or no image at all.
    """
    if len(found) != len(true):
        raise UsageError(f"objects found in {len(found)} images, but {len(true)} annotated")
    if not true:
        raise UsageError("detection over no image at all")
    from torchmetrics.detection import MeanAveragePrecision

    metric = MeanAveragePrecision(box_format="xyxy", backend="faster_coco_eval")
    metric.update(
        [_tensors(_only(item, classes), scored=True) for item in found],
        [_tensors(_only(item, classes), scored=False) for item in true],
    )
    with contextlib.redirect_stdout(io.StringIO()):  # the backend prints its own tables
        result = metric.compute()
    values = {name: float(result[name]) for name in ("map", "map_50")}
    return DetectionScore(
        pictures=len(true),
        map=values["map"] if values["map"] >= 0 else None,
        map50=values["map_50"] if values["map_50"] >= 0 else None,
    )


def _only(item: Boxes, classes: Collection[int] | None) -> Boxes:
    if classes is None:
        return item
    kept = [index for index, label in enumerate(item.labels) if label in classes]
    return Boxes(
        boxes=[item.boxes[index] for index in kept],
        labels=[item.labels[index] for index in kept],
        scores=None if item.scores is None else [item.scores[index] for index in kept],
    )


def _tensors(item: Boxes, *, scored: bool) -> dict[str, Tensor]:
    import torch

    made: dict[str, Tensor] = {
        "boxes": torch.tensor(item.boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor(item.labels, dtype=torch.int64),
    }
    if scored:
        if item.scores is None:
            raise UsageError("objects found need scores")
        made["scores"] = torch.tensor(item.scores, dtype=torch.float32)
    return made
