"""The probability nets at inference: integers in, integers out, the same on every machine.

Values are those of `integer`, scaled to whole numbers: weights |w| <= 127, activations
|a| <= 127, accumulators rounded to bfloat16, biases added after. Activations are bytes, as in
`int8`, whose exact sums are the fast path; everywhere else sums are float32 matrix products,
which are exact as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from deepsic.models import int8

HALF = 32.0
"""Half of the shift by 64, added with the bias so that flooring rounds."""


@dataclass(frozen=True, kw_only=True)
class IntegerLayer:
    """One convolution: weights (D, C, k, k) and biases (D,), whole numbers in float32."""

    weight: Tensor
    bias: Tensor
    conv: int8.ByteConv | None
    """The fast path, where there is one."""

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor | None, fast: bool) -> IntegerLayer:
        """From int8 weights and int32 biases; HALF is already added to the biases here."""
        b = torch.zeros(len(weight)) if bias is None else bias.float()
        conv = int8.ByteConv.of(weight.to(torch.int8)) if fast else None
        return cls(weight=weight.float(), bias=b + HALF, conv=conv)

    def sums(self, x: Tensor) -> Tensor:
        """Exact accumulators without bias: bytes (1, C, H, W) to (1, D, H, W) float32."""
        if self.conv is not None:
            return self.conv(x)
        return exact_sums(x.float() - int8.OFFSET, self.weight)


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
