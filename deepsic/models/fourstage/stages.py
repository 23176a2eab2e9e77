"""Fig. 3: the feature extraction module and its mirror, four stages each.

    extraction stage      u -> convolution -> sub-sampling -> batch norm -+-> u'
                          u -> average over the sub-sampled places -------'
    reconstruction stage  v -> deconvolution -> batch norm -+-> v'
                          v -> interpolation ---------------'

Section III-A adds "the batch-normalised output of the previous layer to the subsequent layer":
what a stage hands on is its own output plus what it was given, brought to its size. Section III-C
passes each output on "through two paths", a deconvolution and an interpolation.

Where the paper says nothing, ours: a 1x1 convolution on the second path where sizes change (128
channels at one resolution mean another thing than at the next), ReLU in the stages that the
table in `RELU` names (the paper's text has no activation at all, and without one the net is
linear), and stages of full resolution seeing their input in quantisation steps, companded, so that
one net serves all rates.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepsic.models.blocks import compand
from deepsic.models.fourstage.config import KERNELS, FourStageConfig

__all__ = ["RELU", "Extraction", "ExtractionStage", "Reconstruction", "ReconstructionStage"]

RELU = {"extraction": (False, False, True, True), "reconstruction": (False, True, True, True)}
"""Whether stages 1 to 4 (the mirror of stage 1 comes last) pass a ReLU before normalisation."""
_COLOURS = 3


class ExtractionStage(nn.Module):
    """One stage of feature extraction: (B, C, H, W) to (B, D, H / stride, W / stride)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, relu: bool) -> None:
        super().__init__()
        self.relu = relu
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=relu)
        self.norm = nn.BatchNorm2d(outputs)
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.path: nn.Module | None = None
        if inputs == outputs:
            self.path = nn.Conv2d(inputs, outputs, 1, bias=False) if stride > 1 else nn.Identity()

    def forward(self, u: Tensor, step: Tensor | None = None) -> Tensor:
        """With `step` (B, 1, 1, 1), the convolution works in that unit."""
        y = self.conv(u if step is None else compand(u / step))
        h = self.norm((functional.relu(y) if self.relu else y).float())
        if step is not None:
            h = h * step
        if self.path is None:  # stage 1: what comes in are colours, not features
            return torch.as_tensor(h)
        return torch.as_tensor(h + self.path(self.pool(u)).float())


class ReconstructionStage(nn.Module):
    """The mirror: (B, C, H, W) to (B, D, H * stride, W * stride)."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, relu: bool, last: bool = False
    ) -> None:
        super().__init__()
        self.relu, self.stride = relu, stride
        self.conv = nn.ConvTranspose2d(
            inputs, outputs, kernel, stride, padding=kernel // 2, output_padding=stride - 1,
            bias=relu or last,
        )  # fmt: skip
        # An image is no feature map: its scale is given.
        self.norm: nn.Module = nn.Identity() if last else nn.BatchNorm2d(outputs)
        same = stride == 1 and inputs == outputs
        self.path: nn.Module = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, v: Tensor, step: Tensor | None = None) -> Tensor:
        y = self.conv(v if step is None else compand(v / step))
        h = self.norm((functional.relu(y) if self.relu else y).float())
        if step is not None:
            h = h * step
        straight = self.path(v).float()
        if self.stride > 1:
            straight = functional.interpolate(
                straight, scale_factor=float(self.stride), mode="bilinear"
            )
        return torch.as_tensor(h + straight)


class Extraction(nn.Module):
    """f(x): images (B, 3, H, W) in [-1, 1] to features (B, filters, H / s, W / s)."""

    def __init__(self, config: FourStageConfig) -> None:
        super().__init__()
        inputs = (_COLOURS, *(config.filters,) * 3)
        shapes = zip(inputs, KERNELS, config.strides, RELU["extraction"], strict=True)
        self.stages = nn.ModuleList(
            ExtractionStage(c, config.filters, kernel, stride, relu)
            for c, kernel, stride, relu in shapes
        )
        self.in_steps = _in_steps(config)

    def parts(self) -> list[ExtractionStage]:
        """Stages 1 to 4."""
        return [cast(ExtractionStage, stage) for stage in self.stages]

    def forward(self, x: Tensor, step: Tensor | None = None) -> Tensor:
        """`step` (B, 1, 1, 1): width of a level, in the features' unit; None: one rate."""
        u = x
        for stage, in_steps in zip(self.parts(), self.in_steps, strict=True):
            u = stage(u, step if in_steps else None)
        return u


class Reconstruction(nn.Module):
    """g: features (B, filters, H / s, W / s) to images (B, 3, H, W) in [-1, 1], not clamped."""

    def __init__(self, config: FourStageConfig) -> None:
        super().__init__()
        outputs = (_COLOURS, *(config.filters,) * 3)
        shapes = zip(outputs, KERNELS, config.strides, RELU["reconstruction"], strict=True)
        self.stages = nn.ModuleList(
            ReconstructionStage(config.filters, c, kernel, stride, relu, last=c == _COLOURS)
            for c, kernel, stride, relu in shapes
        )
        self.in_steps = _in_steps(config)

    def parts(self) -> list[ReconstructionStage]:
        """The mirrors of stages 1 to 4: they run from the last to the first."""
        return [cast(ReconstructionStage, stage) for stage in self.stages]

    def forward(self, v: Tensor, step: Tensor | None = None) -> Tensor:
        """`step` as in `Extraction`."""
        for stage, in_steps in zip(self.parts()[::-1], self.in_steps[::-1], strict=True):
            v = stage(v, step if in_steps else None)
        return v


def _in_steps(config: FourStageConfig) -> tuple[bool, ...]:
    """Which stages work in quantisation steps: those that keep the resolution."""
    return tuple(config.many_rates and stride == 1 for stride in config.strides)
