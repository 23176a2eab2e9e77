"""8-bit convolutions of a CPU's integer units, through oneDNN.

Activations are bytes: what was rectified counts from 0 to 255, what has a sign stands 128 higher
than it is (`OFFSET`). Weights are int8. Sums are exact 32-bit integers, given as float32, which
holds them exactly below 2^24. Where the library lacks the operator, or gets one of some hard cases
wrong, callers have another way.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["OFFSET", "ByteConv", "as_bytes", "available"]

OFFSET = 128
"""What a byte holds more than the number it stands for."""


@dataclass(frozen=True, kw_only=True)
class ByteConv:
    """A convolution of bytes with zeros outside: weights (D, C, k, k), stride 1, k odd."""

    packed: Tensor
    """Weights in the library's own order."""
    scale: Tensor
    """(D,) float32: what a unit of each weight is worth."""
    zero: Tensor
    """(D,) zeros: the weights' zero points."""
    padding: int
    offset: int
    """0 or OFFSET: the byte that stands for 0."""

    @classmethod
    def of(cls, weight: Tensor, scale: Tensor | None = None, *, offset: int = OFFSET) -> ByteConv:
        """From int8 weights, and what a unit of each output's weights is worth (1 if not given)."""
        outputs, kernel = weight.shape[0], weight.shape[2]
        scale = torch.ones(outputs) if scale is None else scale.float()
        zero = torch.zeros(outputs, dtype=torch.int64)
        pad = [kernel // 2, kernel // 2]
        if kernel == 1:
            packed = torch.ops.onednn.qlinear_prepack(weight[:, :, 0, 0].contiguous(), None)
        else:
            packed = torch.ops.onednn.qconv_prepack(
                weight, scale, 1.0, offset, [1, 1], pad, [1, 1], 1, None
            )
        return cls(packed=packed, scale=scale, zero=zero, padding=kernel // 2, offset=offset)

    @classmethod
    def rounded(cls, weight: Tensor, *, offset: int) -> ByteConv:
        """From float weights: each output's are rounded to 127 steps of its own."""
        scale = weight.abs().amax((1, 2, 3)).clamp(min=1e-12) / 127
        steps = torch.round(weight / scale[:, None, None, None])
        return cls.of(steps.to(torch.int8), scale, offset=offset)

    def __call__(
        self,
        x: Tensor,
        bias: Tensor | None = None,
        *,
        unit: float = 1.0,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Bytes (1, C, H, W), channels last, to sums (1, D, H, W) of `dtype`, channels last.

        Args:
            bias: (D,) float32, in units of the result.
            unit: what a step of x is worth.
        """
        return self._run(x, unit, bias, 1.0, 0, dtype, "none")

    def rectified(
        self, x: Tensor, bias: Tensor | None, *, unit: float, out_unit: float, out_offset: int = 0
    ) -> Tensor:
        """`max(0, sums)` as bytes: steps of `out_unit` above an offset, as many as fit."""
        return self._run(x, unit, bias, out_unit, out_offset, torch.uint8, "relu")

    def shifted(self, x: Tensor, bias: Tensor) -> Tensor:
        """`clamp(floor(sums + bias + 1/2), 0, 127)` as bytes above OFFSET.

        The scale of each output is a power of two, and its bias a multiple of it.
        """
        # The library rounds halves to even; a quarter step more makes no other number a half.
        bias = bias + 0.25 * self.scale
        return self.rectified(x, bias, unit=1.0, out_unit=1.0, out_offset=OFFSET)

    def _run(
        self, x: Tensor, unit: float, bias: Tensor | None, out_unit: float, out_offset: int,
        dtype: torch.dtype, last: str,
    ) -> Tensor:  # fmt: skip
        if self.padding == 0:  # a matrix product: faster than the library's 1x1 convolution
            flat: Tensor = torch.ops.onednn.qlinear_pointwise(
                x.permute(0, 2, 3, 1), unit, self.offset, self.packed, self.scale, self.zero, bias,
                out_unit, out_offset, dtype, last, [], "",
            )  # fmt: skip
            return flat.permute(0, 3, 1, 2)
        pad = [self.padding, self.padding]
        y: Tensor = torch.ops.onednn.qconv2d_pointwise(
            x, unit, self.offset, self.packed, self.scale, self.zero, bias,
            [1, 1], pad, [1, 1], 1, out_unit, out_offset, dtype, last, [], "",
        )  # fmt: skip
        return y

    def add_to(self, total: Tensor, x: Tensor, bias: Tensor | None, *, unit: float) -> Tensor:
        """`total + sums` of a 3x3 convolution, written to total (1, D, H, W) bfloat16."""
        pad = [self.padding, self.padding]
        y: Tensor = torch.ops.onednn.qconv2d_pointwise.binary(
            x, unit, self.offset, self.packed, self.scale, self.zero, total, bias,
            [1, 1], pad, [1, 1], 1, 1.0, 0, total.dtype, 1.0, 0, "sum", 1.0, None, [], "",
        )  # fmt: skip
        return y


def as_bytes(x: Tensor) -> Tensor:
    """Whole numbers -128 .. 127 of any type, (1, C, H, W), to bytes, channels last."""
    return (x + OFFSET).to(torch.uint8).contiguous(memory_format=torch.channels_last)


def available() -> bool:
    """Whether bytes are multiplied in hardware here, and exactly, on hard random cases."""
    mkldnn = torch.backends.mkldnn
    if not (mkldnn.is_available() and mkldnn.enabled):  # type: ignore[no-untyped-call]
        return False
    return torch.cpu._is_vnni_supported() and _is_exact()


@functools.cache
def _is_exact() -> bool:
    generator = torch.Generator().manual_seed(1)
    for inputs, outputs, kernel, side in ((100, 64, 3, 24), (64, 256, 1, 16), (24, 64, 3, 8)):
        x = torch.randint(-128, 128, (1, inputs, side, side + 5), generator=generator)
        w = torch.randint(-127, 128, (outputs, inputs, kernel, kernel), generator=generator)
        unit = torch.exp2(-torch.randint(4, 11, (outputs,), generator=generator).float())
        bias = torch.randint(-(2**14), 2**14, (outputs,), generator=generator) * unit
        try:
            conv = ByteConv.of(w.to(torch.int8), unit)
            quick, shifted = conv(as_bytes(x)), conv.shifted(as_bytes(x), bias)
        except (AttributeError, NotImplementedError, RuntimeError, TypeError):
            return False  # a torch whose operators look otherwise
        scaled = w.double() * unit[:, None, None, None]
        slow = functional.conv2d(x.double(), scaled, padding=kernel // 2)
        whole = torch.floor(slow + bias[:, None, None] + 0.5).clamp(0, 127)
        if not (torch.equal(quick.double(), slow) and torch.equal(shifted, as_bytes(whole))):
            return False
    return True
