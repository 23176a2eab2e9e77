"""What the semantic losses need of a downstream network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

__all__ = ["Observer"]


@runtime_checkable
class Observer(Protocol):
    """A frozen network that shows its perceptual results and its feature maps.

    `Classifier` and `FastestDet` are such; any other network becomes one with two methods.
    """

    default_layer: str

    def observe(
        self, x01: Tensor, layers: Sequence[str], *, leaf: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        """Perceptual results y BxC and the maps f BxKxMxN of `layers`, from one pass.

        With `leaf`, y can be differentiated by the maps and by nothing before them.
        """
        ...

    def features(self, x01: Tensor, layer: str | None = None) -> Tensor:
        """Maps f BxKxMxN of `layer`, differentiable by the image."""
        ...
