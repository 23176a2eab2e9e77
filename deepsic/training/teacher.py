"""A frozen classifier that teaches a semantic head: soft labels, hints, and first weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from deepsic.errors import UsageError
from deepsic.labels import classes_of, label_set
from deepsic.models.fourstage.semantic import SemanticModule
from deepsic.models.semantic.head import SemanticHead
from deepsic.tasks import load_classifier

__all__ = ["Teacher"]

_FIRST = 5
"""Block of EfficientNet-Lite0 that the head's first inverted residual stands for."""


class Teacher:
    """EfficientNet-Lite0, asked only for the classes of a label set.

    Raises:
        UsageError: the label set has classes that ImageNet's thousand lack.
    """

    def __init__(
        self,
        labels: str,
        name: str = "efficientnet-lite0",
        device: torch.device | str = "cpu",
    ) -> None:
        self.net = load_classifier(name).to(device)
        numbers = {node.wnid: node.number for node in label_set("imagenet1k").classes()}
        wnids = [node.wnid or node.name for node in classes_of(labels)]
        missing = [wnid for wnid in wnids if wnid not in numbers]
        if missing:
            raise UsageError(f"{name} doesn't know {', '.join(missing[:3])} of {labels}")
        self.columns = torch.tensor([int(numbers[wnid] or 0) for wnid in wnids], device=device)

    @torch.no_grad()
    def logits(self, x01: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to logits (B, classes)."""
        return self.net.logits(x01)[:, self.columns]

    @torch.no_grad()
    def outputs(self, x01: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 3, H, W) in [0, 1], at their own size, to logits (B, classes) and maps (B, 40,
        H/8, W/8)."""
        logits, (hint,) = self.net.observe(x01, (f"_blocks.{_FIRST - 1}",), resized=False)
        return logits[:, self.columns], hint

    def give_weights(self, head: SemanticHead | SemanticModule) -> int:
        """Start the head's inverted residuals at the teacher's blocks, while sizes are equal.

        Returns: how many blocks were taken.
        """
        blocks: Sequence[nn.Module] = list(self.net.network.get_submodule("_blocks").children())
        names = {"widen": "_expand_conv", "depthwise": "_depthwise_conv", "narrow": "_project_conv"}
        taken = 0
        for mine, theirs in zip(head.blocks, blocks[_FIRST:], strict=False):
            layers = [(getattr(mine, a), _conv(getattr(theirs, b))) for a, b in names.items()]
            if any(a.weight.shape != b.weight.shape for a, b in layers):
                break
            for a, b in layers:
                a.load_state_dict({"weight": b.weight, "bias": b.bias})
            taken += 1
        return taken


def _conv(layer: nn.Module) -> nn.Module:
    """The convolution in a layer that wraps one."""
    return layer if hasattr(layer, "weight") else layer.get_submodule("conv")
