"""`sic`, the default preset: wavelet and residual networks, one model for all rates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from deepsic.models.blocks import QualityTable, compand, contrast
from deepsic.models.output import Output
from deepsic.models.quality import base_step
from deepsic.models.sic.config import SicConfig
from deepsic.models.sic.entropy_model import likelihood
from deepsic.models.sic.entropy_model.context import ContextModel
from deepsic.models.sic.entropy_model.hyper import HyperAnalysis
from deepsic.models.sic.entropy_model.serial import median_prediction
from deepsic.models.sic.entropy_model.training import TrainingCoder
from deepsic.models.sic.transforms import Analysis, StateSynthesis, Synthesis
from deepsic.models.sic.wavelet import bands, lifting

_FINEST = bands.LEVEL1 + bands.CHROMA1
SSIM_STEPS8 = (0.7,) * bands.LEVEL3 + (0.85,) * bands.LEVEL2 + (1.1,) * _FINEST
"""What a tuning for structural similarity starts from: factors of the steps of y8 and y16."""
SSIM_STEPS16 = (0.8,) * bands.LL + (0.7,) * bands.LEVEL4
SERIAL_PARTS = ("context.lowest.", "context.around.")
"""Parameters of the networks that only `SicConfig.serial` has."""


@dataclass(kw_only=True)
class Latents:
    """Latents of a batch, in coefficient units, with the steps that quantise them."""

    y8: Tensor
    """(B, 189, H/8, W/8)"""
    y16: Tensor
    """(B, 12, H/16, W/16)"""
    step8: Tensor
    """(B, 189, 1, 1)"""
    step16: Tensor
    """(B, 12, 1, 1)"""


class SicNet(nn.Module):
    """Joint codec: RGB (B, 3, H, W) in [0, 255], sides multiples of 32, to `Output`.

    x -> wavelet -> + f -> / step -> ContextModel -> * step -> + g -> inverse wavelet -> x_hat
                              |-> HyperAnalysis -> z -^
    """

    def __init__(self, config: SicConfig | None = None) -> None:
        super().__init__()
        c = config or SicConfig()
        self.config = c
        self.g_a = Analysis(c.width8, c.width16, c.depth)
        first = c.revision == 1
        self.g_s: Any = (
            Synthesis(c.width8, c.width16, c.depth)
            if first
            else StateSynthesis(c.width8, c.depth + 1, c.context)
        )
        self.h_a = HyperAnalysis()
        self.context = ContextModel(
            c.context,
            rounded_sums=c.rounded_sums,
            shifted=not first,
            mean_parts=c.mean_parts,
            serial=c.serial,
        )
        self.gain8 = QualityTable(bands.Y8)
        self.gain16 = QualityTable(bands.Y16)
        self.gain_z: Any = None if first else QualityTable(bands.HYPER)
        self.z_log_scale: Any = (
            nn.Parameter(torch.zeros(bands.HYPER)) if first else QualityTable(bands.HYPER)
        )
        self.ll_scale = nn.Parameter(torch.tensor([[0.0, -1.0, -1.0], [0.8, 0.8, 0.8]]))
        if c.tunings > 1:
            for module in self.modules():
                if isinstance(module, QualityTable):
                    module.set_tunings(c.tunings)

    def analyse(self, x: Tensor, position: Tensor) -> tuple[Latents, Tensor]:
        """Latents and semantic features of pictures (B, 3, H, W) at positions (B,)."""
        c8 = lifting.forward8(lifting.rgb_to_colours(x))
        ll, level4 = lifting.forward_level(c8[:, : bands.LL])
        c16 = torch.cat((ll, level4), 1)
        step = base_step(position, self.config.wide)[:, None, None, None]
        v8 = torch.cat((contrast(c8[:, : bands.LL]), c8[:, bands.LL :]), 1) / step
        v16 = torch.cat((contrast(ll), level4), 1) / step
        r8, r16, features = self.g_a(compand(v8), compand(v16), position)
        latents = Latents(
            y8=c8[:, bands.LL :] + r8.float() * step,
            y16=c16 + r16.float() * step,
            step8=step * self.gain8(position).exp(),
            step16=step * self.gain16(position).exp(),
        )
        return latents, features

    def synthesise(self, y8: Tensor, y16: Tensor, state: Tensor, position: Tensor) -> Tensor:
        """Images (B, 3, H, W) from latents in coefficient units and the last state."""
        step = base_step(position, self.config.wide)[:, None, None, None]
        ll8 = lifting.inverse_level(y16[:, : bands.LL], y16[:, bands.LL :])
        v8 = torch.cat((contrast(ll8), y8), 1) / step
        if self.config.revision == 1:
            v16 = torch.cat((contrast(y16[:, : bands.LL]), y16[:, bands.LL :]), 1) / step
            beside = compand(v16)
        else:
            beside = state
        r8 = self.g_s(compand(v8), beside, position).float() * step
        return lifting.colours_to_rgb(lifting.inverse8(torch.cat((ll8, y8), 1) + r8))

    def hyper(self, v8: Tensor, v16: Tensor, position: Tensor) -> Tensor:
        """Unrounded hyper-latent of latents in steps."""
        smooth = torch.cat((contrast(v16[:, : bands.LL]), v16[:, bands.LL :]), 1)
        z = torch.as_tensor(self.h_a(compand(v8), compand(smooth)))
        return z if self.gain_z is None else z * self.gain_z(position).exp()

    def forward(self, x: Tensor, position: Tensor, look: bool = False) -> Output:
        """One pass; this net has no semantic module, so that `look` changes nothing."""
        latents, _ = self.analyse(x, position)
        return self.code(latents, position)

    def code(self, latents: Latents, position: Tensor) -> Output:
        """Quantise latents, count their bits, and draw the picture that a decoder would."""
        v8, v16 = latents.y8 / latents.step8, latents.y16 / latents.step16
        coder = TrainingCoder(v8, v16)
        z = self.hyper(v8, v16, position)
        z_hat = z + (torch.round(z) - z).detach()
        coder.count("z", self._bits(z_hat, z, *self.predict_hyper(z_hat, position)))
        v_ll = v16[:, : bands.LL]
        ll = v_ll + (torch.round(v_ll) - v_ll).detach()
        prediction, log_s = self.predict_lowest(ll, position)
        coder.count("ll", self._bits(ll, v_ll, prediction, log_s))
        state = self.context(z_hat, ll, position, coder)
        v8_hat, level4 = coder.assemble()
        y8 = v8_hat * latents.step8
        y16 = torch.cat((ll, level4), 1) * latents.step16
        x_hat = self.synthesise(y8, y16, state, position)
        return Output(
            x_hat=x_hat,
            bits=coder.total,
            parts=coder.parts,
            before=(latents.y8, latents.y16),
            after=(y8, y16),
        )

    def set_quantised(self, quantised: bool) -> None:
        """Switch the probability nets to their integer grid, or back."""
        self.context.set_quantised(quantised)

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """`gains`, the quantisation steps, which are few and in logarithms; `encoder`."""
        gains = [p for name, p in self.named_parameters() if name.startswith("gain")]
        encoder = [*self.g_a.parameters(), *self.h_a.parameters()]
        return {"gains": gains, "encoder": encoder}

    @torch.no_grad()
    def adopt(self, old: SicNet) -> None:
        """Take a trained net's weights; of revision 1, those that revision 2 still has."""
        if old.config.revision == self.config.revision:
            state = old.state_dict()
            if self.config.tunings > old.config.tunings:
                state = self._tuned(state)
            elif self.config.tunings < old.config.tunings:
                rows = self.config.tunings * QualityTable.NODES
                state = {k: v[:rows] if k.endswith(".table") else v for k, v in state.items()}
            missing, unexpected = self.load_state_dict(state, strict=False)
            if unexpected or any(not k.startswith(SERIAL_PARTS) for k in missing):
                raise RuntimeError(f"{[*unexpected, *missing]}")
            return
        state = {k: v for k, v in old.state_dict().items() if not k.startswith("g_s.")}
        state["z_log_scale.table"] = state.pop("z_log_scale").expand(QualityTable.NODES, -1)
        bias = state.pop("context.hyper1.bias")
        state["context.hyper1.shift.table"] = bias.expand(QualityTable.NODES, -1)
        state["context.hyper1.conv.weight"] = state.pop("context.hyper1.weight")
        missing, unexpected = self.load_state_dict(state, strict=False)
        if unexpected or any(not k.startswith(("g_s.", "gain_z.", *SERIAL_PARTS)) for k in missing):
            raise RuntimeError(f"{[*unexpected, *missing]}")
        self.g_s.adopt(old.g_s)

    def _tuned(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """A net's weights with a second tuning: the first, but for its quantisation steps."""
        added = self.config.tunings - len(state["gain8.table"]) // QualityTable.NODES
        grown = {
            name: torch.cat((value, value[: QualityTable.NODES].repeat(added, 1)))
            if name.endswith(".table")
            else value
            for name, value in state.items()
        }
        for name, steps in (("gain8", SSIM_STEPS8), ("gain16", SSIM_STEPS16)):
            grown[f"{name}.table"][-QualityTable.NODES :] += torch.tensor(steps).log()
        return grown

    def predict_lowest(self, ll: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """Prediction and log scale of each symbol (B, 3, H, W) from those before it."""
        prediction, activity = median_prediction(ll.detach())
        offset, slope = self.ll_scale[:, None, :, None, None]
        log_s = offset + slope * torch.log1p(0.5 * activity)
        if self.context.lowest is None:
            return prediction, log_s
        mean, index = self.context.lowest(ll.detach(), position, self.context.quantised)
        return prediction + mean, likelihood.moved_scale(log_s, index)

    def predict_hyper(self, z_hat: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
        """The same of the hyper-latent's symbols (B, 24, H, W)."""
        scales = self.z_log_scale
        log_s = (
            scales(position) if isinstance(scales, QualityTable) else scales[None, :, None, None]
        )
        if self.context.around is None:
            return torch.zeros_like(z_hat), log_s
        mean, index = self.context.around(z_hat.detach(), position, self.context.quantised)
        return mean, likelihood.moved_scale(log_s, index)

    @staticmethod
    def _bits(symbol: Tensor, value: Tensor, mean: Tensor, log_s: Tensor) -> Tensor:
        """Hard bits with the smooth gradient of the value, as in `TrainingCoder`."""
        smooth = likelihood.bits(value - mean.detach(), log_s.detach())
        rate = likelihood.bits(symbol.detach() - mean, log_s) + (smooth - smooth.detach())
        return rate.flatten(1).sum(1)
