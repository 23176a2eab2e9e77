"""Preset `saic`: encoder-decoder with a binary quantiser (SAIC section 3.2, Eq. 6 and 7).

    x -> encoder -> e in (0, 1) -> q = [e > 0.5] -> decoder -> x'
         1/8, C channels            C bits per 8x8 pixels

The rate is the size of q: C / 64 bpp, whatever the image; 8, 16 and 32 channels give the
paper's 0.125, 0.25 and 0.5 bpp. The paper names no layers; ours are residual blocks at 1/8,
where a CPU is quick.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deepsic.errors import UsageError
from deepsic.models.blocks import ResidualBlock
from deepsic.models.output import Output

__all__ = ["PATCH", "BinaryConfig", "BinaryNet", "binarise"]

PATCH = 8
"""Pixels a side that share one vector of bits."""


@dataclass(frozen=True, kw_only=True)
class BinaryConfig:
    """Sizes of the `saic` preset."""

    bits: int = 8
    """Channels of q: bits for each 8x8 pixels."""
    width: int = 128
    """Channels of the residual blocks."""
    depth: int = 3
    """Residual blocks of the encoder, and of the decoder."""

    def __post_init__(self) -> None:
        if min(self.bits, self.width, self.depth) < 1:
            raise UsageError(
                f"bits={self.bits}, width={self.width}, depth={self.depth}: at least 1"
            )

    @classmethod
    def for_bpp(cls, bpp: float) -> BinaryConfig:
        """The configuration that costs `bpp` bits a pixel.

        >>> [BinaryConfig.for_bpp(rate).bits for rate in (0.125, 0.25, 0.5)]
        [8, 16, 32]
        """
        bits = bpp * PATCH**2
        if abs(bits - round(bits)) > 1e-9 or bits < 1:
            raise UsageError(f"{bpp} bpp is no multiple of 1/{PATCH**2}")
        return cls(bits=round(bits))

    @property
    def bpp(self) -> float:
        """Bits a pixel, where sides are multiples of 8."""
        return self.bits / PATCH**2


def binarise(e: Tensor) -> Tensor:
    """Eq. 7: 1 where e > 0.5, else 0; the gradient passes straight through."""
    return e + ((e > 0.5).to(e.dtype) - e).detach()


class BinaryNet(nn.Module):
    """RGB (B, 3, H, W) in [0, 255], sides multiples of 8, to `Output`.

    `forward` takes what every net of ours takes: this one knows one rate and no labels.
    """

    def __init__(self, config: BinaryConfig | None = None) -> None:
        super().__init__()
        c = config or BinaryConfig()
        self.config = c
        pixels = 3 * PATCH**2
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(PATCH),
            nn.Conv2d(pixels, c.width, 3, padding=1),
            *(ResidualBlock(c.width) for _ in range(c.depth)),
            nn.Conv2d(c.width, c.bits, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(c.bits, c.width, 3, padding=1),
            *(ResidualBlock(c.width) for _ in range(c.depth)),
            nn.Conv2d(c.width, pixels, 3, padding=1),
            nn.PixelShuffle(PATCH),
        )

    def encode(self, x: Tensor) -> Tensor:
        """e = E(x): (B, bits, H/8, W/8) in (0, 1)."""
        return torch.sigmoid(self.encoder(x / 127.5 - 1).float())

    def decode(self, q: Tensor) -> Tensor:
        """D(q): (B, 3, H, W) in [0, 255], not clamped."""
        # Bits enter as -1 and 1, so that none of them is silent.
        return torch.as_tensor((self.decoder(2 * q - 1).float() + 1) * 127.5)

    def set_quantised(self, quantised: bool) -> None:
        """This net has no probability nets.

        Raises:
            UsageError: an integer grid is asked for.
        """
        if quantised:
            raise UsageError("preset saic has no probability nets to run in integers")

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """`encoder` and `decoder`."""
        return {
            "encoder": list(self.encoder.parameters()),
            "decoder": list(self.decoder.parameters()),
        }

    def forward(self, x: Tensor, position: Tensor | None = None, look: bool = False) -> Output:
        e = self.encode(x)
        q = binarise(e)
        bits = x.new_full((len(x),), float(q[0].numel()))
        nothing = q[:, :0]
        return Output(
            x_hat=self.decode(q),
            bits=bits,
            parts={"q": bits},
            before=(e, nothing),
            after=(q, nothing),
        )
