"""Analysis and synthesis: residual networks at 1/8 and 1/16 beside the wavelet.

Both work in units of the quantisation step, so that one network serves all rates:

    analysis:   y = c + step * f(compand(c / step))
    synthesis:  c_hat = y_hat + step * g(compand(y_hat / step))

where c are the wavelet's coefficients. f and g start at zero: the untrained codec is the wavelet.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepsic.models.blocks import Modulation, ResidualBlock
from deepsic.models.sic.wavelet import bands


class Trunk(nn.Module):
    """Features at 1/8 and 1/16: in (B, C8, H/8, W/8) and (B, C16, H/16, W/16).

    Out: f8 (B, width8, H/8, W/8) that has seen f16 (B, width16, H/16, W/16), and f16.
    """

    def __init__(self, c8: int, c16: int, width8: int, width16: int, depth: int) -> None:
        super().__init__()
        self.in8 = nn.Conv2d(c8, width8, 1)
        self.modulate8 = Modulation(width8)
        self.blocks8a = nn.Sequential(*(ResidualBlock(width8) for _ in range(depth // 2)))
        self.down = nn.Conv2d(width8, width16, 2, stride=2)
        self.in16 = nn.Conv2d(c16, width16, 1)
        self.modulate16 = Modulation(width16)
        self.blocks16 = nn.Sequential(*(ResidualBlock(width16) for _ in range(depth)))
        self.up = nn.Conv2d(width16, 4 * width8, 1)
        self.blocks8b = nn.Sequential(*(ResidualBlock(width8) for _ in range(depth - depth // 2)))

    def features16(self, v8: Tensor, v16: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """The first half: f8 before the merge, and f16 (all that a semantic head needs)."""
        f8 = self.blocks8a(self.modulate8(self.in8(v8), position))
        f16 = self.modulate16(self.down(f8) + self.in16(v16), position)
        return f8, self.blocks16(f16)

    def forward(self, v8: Tensor, v16: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        f8, f16 = self.features16(v8, v16, position)
        f8 = f8 + functional.pixel_shuffle(self.up(functional.relu(f16)), 2)
        return self.blocks8b(f8), f16


def _zero(conv: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


class Analysis(nn.Module):
    """f: companded coefficients to corrections of the latents, in steps."""

    def __init__(self, width8: int, width16: int, depth: int) -> None:
        super().__init__()
        self.trunk = Trunk(bands.COEFFICIENTS8, bands.Y16, width8, width16, depth)
        self.out8 = _zero(nn.Conv2d(width8, bands.Y8, 1))
        self.out16 = _zero(nn.Conv2d(width16, bands.Y16, 1))

    def forward(self, v8: Tensor, v16: Tensor, position: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """v8 (B, 192, H/8, W/8), v16 (B, 12, H/16, W/16) -> (B, 189, ..), (B, 12, ..), features."""
        f8, f16 = self.trunk(v8, v16, position)
        return self.out8(functional.relu(f8)), self.out16(functional.relu(f16)), f16


class Synthesis(nn.Module):
    """g: companded decoded latents to corrections of all coefficients at 1/8, in steps."""

    def __init__(self, width8: int, width16: int, depth: int) -> None:
        super().__init__()
        self.trunk = Trunk(bands.Y8 + bands.LL, bands.Y16, width8, width16, depth)
        self.out8 = _zero(nn.Conv2d(width8, bands.COEFFICIENTS8, 1))

    def forward(self, v8: Tensor, v16: Tensor, position: Tensor) -> Tensor:
        """v8 (B, 192, H/8, W/8), v16 (B, 12, H/16, W/16) -> (B, 192, H/8, W/8)."""
        f8, _ = self.trunk(v8, v16, position)
        return torch.as_tensor(self.out8(functional.relu(f8)))


class StateSynthesis(nn.Module):
    """g of revision 2: at 1/8 alone, it also reads the probability model's last state.

    That state has seen the hyper-latent and every coarser level.
    """

    def __init__(self, width8: int, depth: int, state: int) -> None:
        super().__init__()
        self.in8 = nn.Conv2d(bands.COEFFICIENTS8, width8, 1)
        self.in_state = _zero(nn.Conv2d(state, width8, 1, bias=False))
        self.modulate8 = Modulation(width8)
        self.blocks = nn.Sequential(*(ResidualBlock(width8) for _ in range(depth)))
        self.out8 = _zero(nn.Conv2d(width8, bands.COEFFICIENTS8, 1))

    def forward(self, v8: Tensor, state: Tensor, position: Tensor) -> Tensor:
        """v8 (B, 192, H/8, W/8), state (B, C, H/8, W/8) -> (B, 192, H/8, W/8)."""
        x = self.modulate8(self.in8(v8) + self.in_state(state), position)
        return torch.as_tensor(self.out8(functional.relu(self.blocks(x))))

    @torch.no_grad()
    def adopt(self, old: Synthesis) -> None:
        """Take the weights of revision 1, but for its branch at 1/16; new paths start at zero."""
        trunk = old.trunk
        same: list[tuple[nn.Module, nn.Module]] = [
            (self.in8, trunk.in8),
            (self.modulate8, trunk.modulate8),
            (self.out8, old.out8),
        ]
        for mine, theirs in same:
            mine.load_state_dict(theirs.state_dict())
        kept = [*trunk.blocks8a, *trunk.blocks8b]
        for mine, theirs in zip(self.blocks, kept, strict=False):
            mine.load_state_dict(theirs.state_dict())
        for block in list(self.blocks)[len(kept) :]:
            _zero(block.get_submodule("conv2"))  # type: ignore[arg-type]
