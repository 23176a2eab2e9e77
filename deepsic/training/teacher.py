"""A frozen classifier that teaches a semantic head: soft labels, hints, and first weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from deepsic.errors import UsageError
from deepsic.labels import classes_of, label_set
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

    def give_weights(self, head: Any) -> int:
        """Start a head at the teacher's layers, while sizes are equal.

        Args:
            head: its `blocks` stand for the teacher's from 1/8 on. One that has `early` for those
                before them takes the first and the last layers as well.

        Returns: how many blocks were taken.
        """
        net: Any = self.net.network
        blocks: list[nn.Module] = list(net._blocks.children())
        early = getattr(head, "early", None)
        if early is None:
            return _copied(zip(head.blocks, blocks[_FIRST:], strict=False))
        taken = _copied(zip([*early, *head.blocks], blocks, strict=False))
        last, fully = net._conv_head, net._fc
        whole = taken == len(blocks) and head.full1.weight.shape == last.weight.shape[:2]
        if whole:
            head.first.load_state_dict(_weights(net._conv_stem))
            head.full1.load_state_dict({"weight": last.weight[..., 0, 0], "bias": last.bias})
            rows = {"weight": fully.weight[self.columns], "bias": fully.bias[self.columns]}
            head.full2.load_state_dict(rows)
        return taken


def _copied(pairs: Iterable[tuple[Any, nn.Module]]) -> int:
    """Blocks of a head that took the weights of EfficientNet-Lite0's, up to the first misfit."""
    names = {"widen": "_expand_conv", "depthwise": "_depthwise_conv", "narrow": "_project_conv"}
    taken = 0
    for mine, theirs in pairs:
        layers = [
            (getattr(mine, a), _weights(getattr(theirs, b)))
            for a, b in names.items()
            if getattr(mine, a) is not None and hasattr(theirs, b)
        ]
        if any(layer.weight.shape != weights["weight"].shape for layer, weights in layers):
            break
        for layer, weights in layers:
            layer.load_state_dict(weights)
        taken += 1
    return taken


def _weights(layer: Any) -> dict[str, Tensor]:
    """Of the convolution in a layer that may wrap one."""
    conv = layer if hasattr(layer, "weight") else layer.get_submodule("conv")
    return {"weight": conv.weight, "bias": conv.bias}
