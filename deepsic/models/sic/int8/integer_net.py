"""The probability nets at inference: integers in, integers out, the same on every machine.

Values are those of `integer`, scaled: weights |w| <= 127, activations |a| <= 127, and sums divided
by 2^s, which in float32 changes exponents alone. Activations are bytes, as in `int8`, whose exact
sums are the fast path; everywhere else sums are float32 matrix products, which are exact as well.
Models before `SicConfig.rounded_sums` round sums to bfloat16 before biases are added.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from deepsic.coding.context_kernels import MeanGrid
from deepsic.models.sic import layout
from deepsic.models.sic.int8 import byte_conv


@dataclass(frozen=True, kw_only=True)
class IntegerLayer:
    """One convolution: weights (D, C, k, k) and biases (D,), whole numbers over 2^s in float32."""

    weight: Tensor
    bias: Tensor
    unit: Tensor
    """(D,) 2^-s."""
    rounded: bool
    """Whether sums are rounded to bfloat16."""
    conv: byte_conv.ByteConv | None
    """The fast path, where there is one."""

    @classmethod
    def of(
        cls, weight: Tensor, bias: Tensor | None = None, shift: Tensor | None = None,
        *, rounded: bool, fast: bool,
    ) -> IntegerLayer:  # fmt: skip
        """From int8 weights, int32 biases and shifts (D,); 6 where there are none."""
        shift = torch.full((len(weight),), 6) if shift is None else shift
        unit = torch.exp2(-shift.float())
        b = torch.zeros(len(weight)) if bias is None else bias.float() * unit
        conv = byte_conv.ByteConv.of(weight.to(torch.int8), unit) if fast else None
        scaled = weight.float() * unit[:, None, None, None]
        return cls(weight=scaled, bias=b, unit=unit, rounded=rounded, conv=conv)

    def sums(self, x: Tensor) -> Tensor:
        """Exact sums over 2^s, without bias: bytes (1, C, H, W) to (1, D, H, W) float32."""
        if self.conv is not None:
            return self.conv(x)
        return exact_sums(x.float() - byte_conv.OFFSET, self.weight)

    def activated(
        self, x: Tensor, bias: Tensor | None = None, more: Tensor | None = None
    ) -> Tensor:
        """`clamp(floor((sums + bias) / 2^s + 1/2), 0, 127)`: bytes (1, C, H, W) to (1, D, H, W).

        Args:
            bias: (D,) whole numbers in place of the layer's own.
            more: sums of another layer over its own 2^s, added.
        """
        bias = self.bias if bias is None else bias * self.unit
        if self.conv is not None and not self.rounded and more is None:
            return self.conv.shifted(x, bias)
        return layout.activate(self.sums(x), bias, more, rounded=self.rounded)

    def decided(self, x: Tensor, grid: MeanGrid) -> tuple[layout.I16, NDArray[np.uint8]]:
        """Means and classes of a pass's last layer, see `layout.decide`."""
        return layout.decide(self.sums(x), self.bias, grid, rounded=self.rounded)


def exact_sums(x: Tensor, weight: Tensor) -> Tensor:
    """Convolution as one float32 matrix product, so that no library picks Winograd's algorithm."""
    outputs, _, kernel, _ = weight.shape
    _, _, height, width = x.shape
    columns = (
        functional.unfold(x, kernel, padding=kernel // 2)[0] if kernel > 1 else x[0].flatten(1)
    )
    sums = weight.reshape(outputs, -1) @ columns
    return sums.view(1, outputs, height, width).contiguous(memory_format=torch.channels_last)


def has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware: elsewhere float32 is faster."""
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return bool(
        supported is not None
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and supported()
    )
