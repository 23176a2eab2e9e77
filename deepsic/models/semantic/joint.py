"""A codec with a semantic head beside it, as one net: to train together, or the head alone."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepsic.models.output import Output
from deepsic.models.semantic.head import SemanticHead
from deepsic.models.semantic.head_config import HeadConfig
from deepsic.models.semantic.head_file import unpack_head
from deepsic.models.semantic.head_input import LEVELS
from deepsic.models.sic.wavelet import bands, lifting
from deepsic.weights import ModelFile

__all__ = ["JointNet", "head_input"]


class JointNet(nn.Module):
    """`codec` gives latents before and after rounding; `head` reads both."""

    rated = False
    """Whether what is read before rounding depends on the rate."""

    def __init__(self, codec: Any, head: SemanticHead, *, trained_head: bool = False) -> None:
        super().__init__()
        self.codec, self.head = codec, head
        self.has_trained_head = trained_head
        """Whether the head holds more than random weights."""

    @classmethod
    def of(cls, codec: Any, config: HeadConfig) -> Self:
        """A codec with a new head."""
        return cls(codec, SemanticHead(config))

    @classmethod
    def from_file(cls, codec: Any, model: ModelFile, config: HeadConfig) -> Self | None:
        """A codec with its model file's head; None where that has none of these sizes."""
        head = unpack_head(model)
        if head is None or head.config != config:
            return None
        return cls(codec, head.requires_grad_(True), trained_head=True)

    @property
    def config(self) -> Any:
        """Sizes of the codec."""
        return self.codec.config

    @property
    def semantic_module(self) -> SemanticHead:
        """What a teacher may give its first weights to."""
        return self.head

    def forward(self, x: Tensor, position: Tensor, look: bool = False) -> Output:
        """As the codec's; with `look` the logits before anything is rounded, and decoded."""
        output: Output = self.codec(x, position)
        if look:
            before = self.head(x, torch.ones_like(position))
            output.logits = before, self.head(head_input(*output.after), position)
        return output

    def seen(self, x: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """The head's input of RGB (B, 3, H, W): before anything is rounded, and decoded."""
        output: Output = self.codec(x, position)
        return x, head_input(*output.after)

    def stem_features(self, seen: Tensor, position: Tensor) -> Tensor:
        """As `SemanticHead.stem_features`."""
        return self.head.stem_features(seen, position)

    def classify(self, features: Tensor) -> Tensor:
        """As `SemanticHead.classify`."""
        return self.head.classify(features)

    def set_quantised(self, quantised: bool) -> None:
        """As the codec's."""
        self.codec.set_quantised(quantised)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """The codec's groups, and the head's inverted residuals: `blocks`."""
        codec: dict[str, list[nn.Parameter]] = self.codec.groups()
        return codec | {"blocks": list(self.head.blocks.parameters())}


def head_input(y8: Tensor, y16: Tensor, octaves: int = 0) -> Tensor:
    """Latents in coefficient units, (B, 189, H/8, W/8) and (B, 12, H/16, W/16), to an image.

    Args:
        y8, y16: decoded.
        octaves: how many times the image is halved, 0 .. 4.

    Returns:
        RGB (B, 3, H / 2^octaves, W / 2^octaves), 0 .. 255.
    """
    level2, level1 = bands.LEVEL3, bands.LEVEL3 + bands.LEVEL2
    ll = y16[:, : bands.LL]
    if octaves < LEVELS:
        ll = lifting.inverse_level(ll, y16[:, bands.LL :])
    if octaves < LEVELS - 1:
        ll = lifting.inverse_level(ll, y8[:, :level2])
    if octaves < LEVELS - 2:
        ll = lifting.inverse_level(ll, functional.pixel_shuffle(y8[:, level2:level1], 2))
    if octaves < LEVELS - 3:
        ll = lifting.inverse_level(ll, functional.pixel_shuffle(y8[:, level1:], 4))
    # Each octave of an orthonormal wavelet doubles what a pixel's brightness gives.
    return lifting.colours_to_rgb(ll / 2**octaves).clamp(0, 255)
