"""What every detector gives, whatever network stands behind it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypedDict

import torch
from torch import Tensor, nn

from deepsic.errors import UsageError

__all__ = ["COCO_CLASSES", "Detection", "Detector"]


class Detection(TypedDict):
    """Objects found in one image; the form that `torchmetrics` takes."""

    boxes: Tensor
    """Nx4, corners x1, y1, x2, y2 in pixels of the image given."""
    scores: Tensor
    """N, in [0, 1], largest first."""
    labels: Tensor
    """N, class numbers 0-79 in COCO's order without its gaps."""


class Detector(nn.Module, ABC):
    """Frozen object detector of COCO's 80 classes, in evaluation mode for good."""

    name: str

    def train(self, mode: bool = True) -> Detector:
        """Stay in evaluation mode: an evaluator may not learn."""
        super().train(False)
        return self

    @torch.no_grad()
    def detect(self, x01: Tensor | Sequence[Tensor]) -> list[Detection]:
        """Find objects in Bx3xHxW RGB in [0, 1], or in a list of 3xHxW of any sizes."""
        images = list(x01)
        for image in images:
            if image.ndim != 3 or image.shape[0] != 3:
                raise UsageError(f"images must be 3xHxW, not {tuple(image.shape)}")
        return self._detect(images)

    @abstractmethod
    def _detect(self, images: list[Tensor]) -> list[Detection]: ...


COCO_CLASSES: tuple[str, ...] = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat",
    "traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog",
    "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella",
    "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball", "kite",
    "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich",
    "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote",
    "keyboard", "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book",
    "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
