"""The probability nets at inference: integers in, integers out, the same on every machine.

Values are those of `integer`, scaled to whole numbers: weights |w| <= 127, activations
|a| <= 127, accumulators rounded to bfloat16, biases added after. The fast path is the library's
bfloat16 convolution; it is taken only where a self-test at load shows that it returns exactly
the rounded sums. Everywhere else sums are float32 matrix products, which are exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

HALF = 32.0
"""Half of the shift by 64, added with the bias so that flooring rounds."""


@dataclass(frozen=True, kw_only=True)
class IntegerLayer:
    """One convolution: weights (D, C, k, k) and biases (D,), whole numbers in float32."""

    weight: Tensor
    bias: Tensor
    fast: bool

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor | None, fast: bool) -> IntegerLayer:
        """From int8 weights and int32 biases; HALF is already added to the biases here."""
        w = weight.float()
        b = torch.zeros(len(w)) if bias is None else bias.float()
        if fast:
            w = w.bfloat16().contiguous(memory_format=torch.channels_last)
        return cls(weight=w, bias=b + HALF, fast=fast)

    def sums(self, x: Tensor) -> Tensor:
        """Rounded accumulators without bias: x (1, C, H, W) to (1, D, H, W), both bfloat16."""
        if self.fast:
            return functional.conv2d(x, self.weight, padding=self.weight.shape[2] // 2)
        return exact_sums(x.float(), self.weight).bfloat16()


def exact_sums(x: Tensor, weight: Tensor) -> Tensor:
    """Convolution as one float32 matrix product, so that no library picks Winograd's algorithm."""
    outputs, _, kernel, _ = weight.shape
    _, _, height, width = x.shape
    columns = (
        functional.unfold(x, kernel, padding=kernel // 2)[0] if kernel > 1 else x[0].flatten(1)
    )
    sums = weight.reshape(outputs, -1) @ columns
    return sums.view(1, outputs, height, width)


def fast_path_is_exact() -> bool:
    """Whether bfloat16 convolutions here return exactly rounded sums, on hard random cases."""
    if torch.get_default_dtype() != torch.float32 or not has_bf16():
        return False
    generator = torch.Generator().manual_seed(1)
    for inputs, outputs, kernel, side in ((100, 64, 3, 24), (64, 256, 1, 16), (24, 64, 3, 8)):
        x = torch.randint(-127, 128, (1, inputs, side, side + 5), generator=generator)
        w = torch.randint(-127, 128, (outputs, inputs, kernel, kernel), generator=generator)
        x, w = x.abs().float() if kernel == 1 else x.float(), w.float()
        quick = IntegerLayer.of(w, None, True).sums(
            x.bfloat16().contiguous(memory_format=torch.channels_last)
        )
        if not torch.equal(quick, exact_sums(x, w).bfloat16()):
            return False
    return True


def has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware: elsewhere the fast path is the slow one."""
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return bool(
        supported is not None
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and supported()
    )
