"""The hyper-analysis: what the latents' magnitudes look like from afar."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from deepsic.models.sic.wavelet import bands


class HyperAnalysis(nn.Module):
    """Companded latents in steps, at 1/8 and 1/16, to z (B, 24, H/32, W/32)."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.in8 = nn.Conv2d(bands.ALWAYS8, width, 1)
        self.down8 = nn.Conv2d(width, width, 2, stride=2)
        self.in16 = nn.Conv2d(bands.Y16, width, 3, padding=1)
        self.down16 = nn.Conv2d(width, width, 2, stride=2)
        self.out = nn.Conv2d(width, bands.HYPER, 1)

    def forward(self, v8: Tensor, v16: Tensor) -> Tensor:
        x = self.down8(functional.relu(self.in8(v8[:, : bands.ALWAYS8].abs())))
        x = functional.relu(x + self.in16(v16))
        x = self.out(functional.relu(self.down16(x)))
        return 4.0 * x.float()
