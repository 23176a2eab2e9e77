"""FastestDet: 0.24 M parameters, 80 classes of COCO, one 22x22 map of predictions.

Written after its authors' description and published state dict (dog-qiuqiu/FastestDet,
BSD-3-Clause), which it loads as it is. It stands in for the SAIC paper's RFBNet.

    image, BGR, 3x352x352
      ShuffleNetV2 -> 48 at 1/8, 96 at 1/16, 192 at 1/32
      brought to 1/16, concatenated (336) -> SPP -> 96
      head -> objectness 1, box 4, classes 80
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import batched_nms

from deepsic.errors import InputError, UsageError
from deepsic.tasks.detector import COCO_CLASSES, Detection, Detector
from deepsic.tasks.hooks import LayerTap
from deepsic.tasks.shufflenet import ShuffleNetV2, conv_norm

__all__ = ["FastestDet", "load_fastestdet"]

_SIDE = 352
#: Scores below this never reach a curve of precision and recall.
_MIN_SCORE = 0.001
_MAX_OVERLAP = 0.45


class _Conv1x1(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1x1 = nn.Sequential(*conv_norm(inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv1x1(x)
        return y


class _PyramidPooling(nn.Module):
    """Three chains of depthwise 5x5 of length 1, 2 and 3, joined, beside a shortcut."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()

        def chain(length: int) -> nn.Sequential:
            layers = [conv_norm(width, width, 5, groups=width) for _ in range(length)]
            return nn.Sequential(*[layer for group in layers for layer in group])

        self.Conv1x1 = _Conv1x1(inputs, width)
        self.S1, self.S2, self.S3 = chain(1), chain(2), chain(3)
        self.output = nn.Sequential(*conv_norm(3 * width, width, relu=False))

    def forward(self, x: Tensor) -> Tensor:
        x = self.Conv1x1(x)
        joined = self.output(torch.cat((self.S1(x), self.S2(x), self.S3(x)), 1))
        return F.relu(x + joined)


class _Branch(nn.Module):
    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.conv5x5 = nn.Sequential(
            *conv_norm(width, width, 5, groups=width), *conv_norm(width, outputs, relu=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv5x5(x)
        return y


class _Head(nn.Module):
    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.conv1x1 = _Conv1x1(width, width)
        self.obj_layers = _Branch(width, 1)
        self.reg_layers = _Branch(width, 4)
        self.cls_layers = _Branch(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1x1(x)
        return torch.cat((self.obj_layers(x), self.reg_layers(x), self.cls_layers(x)), 1)


class FastestDet(Detector):
    """Takes images of any size; boxes come back in their pixels."""

    name = "fastestdet"
    default_layer = "SPP"

    def __init__(self) -> None:
        super().__init__()
        self.backbone = ShuffleNetV2()
        self.SPP = _PyramidPooling(48 + 96 + 192, 96)
        self.detect_head = _Head(96, len(COCO_CLASSES))
        self.requires_grad_(False)
        self.eval()

    def forward(self, x01: Tensor) -> Tensor:
        """Bx3xHxW RGB in [0, 1] -> Bx85x22x22: logit of objectness, box, logits of classes."""
        if x01.shape[-2:] != (_SIDE, _SIDE):
            x01 = F.interpolate(x01, (_SIDE, _SIDE), mode="bilinear", align_corners=False)
        p1, p2, p3 = self.backbone(x01.flip(1))
        p1 = F.avg_pool2d(p1, 3, 2, 1)
        p3 = F.interpolate(p3, scale_factor=2, mode="nearest")
        y: Tensor = self.detect_head(self.SPP(torch.cat((p1, p2, p3), 1)))
        return y

    def observe(
        self, x01: Tensor, layers: Sequence[str], *, leaf: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        """All predictions, BxC flattened, and the maps of the named layers: for SAIC's weights."""
        with LayerTap(self, layers, leaf=leaf) as tap:
            y = self(x01)
        return y.flatten(1), [tap[name] for name in layers]

    def features(self, x01: Tensor, layer: str | None = None) -> Tensor:
        """Feature maps BxKxMxN of `layer` (the pyramid pooling's if None); SAIC Eq. 1."""
        name = layer or self.default_layer
        with LayerTap(self, (name,), stop=True) as tap:
            self(x01)
        return tap[name]

    def _detect(self, images: list[Tensor]) -> list[Detection]:
        squares = [
            F.interpolate(x[None], (_SIDE, _SIDE), mode="bilinear", align_corners=False)
            for x in images
        ]
        maps = self(torch.cat(squares)) if squares else []
        return [
            _objects(y, image.shape[2], image.shape[1])
            for y, image in zip(maps, images, strict=True)
        ]


def _objects(y: Tensor, width: int, height: int) -> Detection:
    """85xMxN prediction of one image of width x height pixels -> its objects."""
    rows, columns = y.shape[-2:]
    gy, gx = torch.meshgrid(
        torch.arange(rows, device=y.device), torch.arange(columns, device=y.device), indexing="ij"
    )
    cx, cy = (y[1].tanh() + gx) / columns, (y[2].tanh() + gy) / rows
    w, h = y[3].sigmoid(), y[4].sigmoid()
    corners = torch.stack((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2), -1).reshape(-1, 4)
    best, labels = y[5:].softmax(0).flatten(1).max(0)
    scores = y[0].sigmoid().flatten() * best
    likely = scores > _MIN_SCORE
    boxes = corners[likely] * corners.new_tensor((width, height, width, height))
    scores, labels = scores[likely], labels[likely]
    keep = batched_nms(boxes, scores, labels, _MAX_OVERLAP)
    limit = boxes.new_tensor((width, height, width, height))
    return Detection(
        boxes=torch.minimum(boxes[keep].clamp(min=0), limit),
        scores=scores[keep],
        labels=labels[keep],
    )


def load_fastestdet(weights: str | Path | None = None) -> FastestDet:
    """FastestDet with its published weights, which no package carries: give their path.

    Raises:
        UsageError: no path.
        InputError: the file isn't its state dict.
    """
    if weights is None:
        raise UsageError("fastestdet needs the path of its published state dict (weights=…)")
    detector = FastestDet()
    try:
        detector.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError) as error:
        raise InputError(f"{Path(weights).name} holds no FastestDet weights: {error}") from error
    return detector
