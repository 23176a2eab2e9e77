"""A frozen image classifier with the preparation of images that it was trained with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepsic.errors import UsageError
from deepsic.tasks.hooks import LayerTap

__all__ = ["Classifier", "Preparation"]


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How a network wants its images: `(255 * x - mean) / std`, resized, RGB or BGR."""

    size: int
    """Side of the square input, pixels."""
    mean: tuple[float, float, float]
    """Subtracted from each channel, on the scale 0-255, in the network's channel order."""
    std: tuple[float, float, float]
    """Divides each channel, on the scale 0-255, in the network's channel order."""
    bgr: bool = False
    """Whether the network wants blue first."""

    def __call__(self, x01: Tensor) -> Tensor:
        """Bx3xHxW RGB in [0, 1], any size -> what the network takes; differentiable."""
        if x01.ndim != 4 or x01.shape[1] != 3:
            raise UsageError(f"images must be Bx3xHxW, not {tuple(x01.shape)}")
        if x01.shape[-2:] != (self.size, self.size):
            x01 = F.interpolate(
                x01, (self.size, self.size), mode="bilinear", antialias=True, align_corners=False
            )
        return self.normalised(x01)

    def normalised(self, x01: Tensor) -> Tensor:
        """The same without the resizing."""
        if self.bgr:
            x01 = x01.flip(1)
        mean = x01.new_tensor(self.mean).view(3, 1, 1)
        std = x01.new_tensor(self.std).view(3, 1, 1)
        x = (255 * x01 - mean) / std
        return x.contiguous(memory_format=torch.channels_last)


class Classifier(nn.Module):
    """Frozen classifier that takes images of any size in [0, 1] RGB.

    It stays in evaluation mode, whatever is done to a module that holds it, and its weights
    take no gradient; gradients reach the image.

    Args:
        name: what it was loaded as.
        network: takes prepared images, returns BxC logits.
        preparation: turns [0, 1] RGB into the network's input.
        default_layer: layer whose maps the semantic losses read if none is named.
    """

    def __init__(
        self, name: str, network: nn.Module, preparation: Preparation, default_layer: str
    ) -> None:
        super().__init__()
        self.name = name
        # The layout in which convolutions of a small batch are fastest on a CPU.
        self.network = network.to(memory_format=torch.channels_last)
        self.requires_grad_(False)
        self.preparation = preparation
        self.default_layer = default_layer
        self.eval()

    def train(self, mode: bool = True) -> Classifier:
        """Stay in evaluation mode: an evaluator may not learn."""
        super().train(False)
        return self

    def logits(self, x01: Tensor) -> Tensor:
        """Bx3xHxW RGB in [0, 1] -> BxC logits."""
        y: Tensor = self.network(self.preparation(x01))
        return y

    forward = logits

    def observe(
        self, x01: Tensor, layers: Sequence[str], *, leaf: bool = False, resized: bool = True
    ) -> tuple[Tensor, list[Tensor]]:
        """Logits BxC and the maps BxKxMxN of the named layers, from one forward pass.

        With `leaf`, the logits can be differentiated by the maps and by nothing before them.
        Without `resized`, the network sees the images at their own size.
        """
        prepare = self.preparation if resized else self.preparation.normalised
        with LayerTap(self.network, layers, leaf=leaf) as tap:
            y: Tensor = self.network(prepare(x01))
        return y, [tap[name] for name in layers]

    def features(self, x01: Tensor, layer: str | None = None) -> Tensor:
        """Feature maps BxKxMxN of `layer` (the default layer if None); SAIC Eq. 1.

        The layers behind it don't run.
        """
        name = layer or self.default_layer
        with LayerTap(self.network, (name,), stop=True) as tap:
            self.network(self.preparation(x01))
        return tap[name]

    @torch.no_grad()
    def predict(self, x01: Tensor) -> Tensor:
        """Class numbers B of the largest logits."""
        return self.logits(x01).argmax(1)
