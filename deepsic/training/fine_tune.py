"""Second stage: a trained codec learns to keep what a downstream network needs.

SAIC's section 4.4 trains with pixels first, then fine-tunes with another distortion from that
common start. The same step makes the arms TDIC, APIC and SAIC and the model `sic-machine`; only
the mix differs.
"""

from __future__ import annotations

import copy
import json
import math
from dataclasses import asdict, dataclass, field
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from deepsic.errors import UsageError
from deepsic.losses.mix import SAIC, Distortion, DistortionMix
from deepsic.models.quality import LAMBDA_MAX, LAMBDA_MIN, lagrangian
from deepsic.models.saic.net import BinaryNet
from deepsic.models.sic.net import SicNet

__all__ = ["FineTune", "FineTuneConfig"]

Net = TypeVar("Net", bound=SicNet | BinaryNet)


@dataclass(frozen=True, kw_only=True)
class FineTuneConfig:
    """One fine-tuning run."""

    mix: DistortionMix = field(default_factory=lambda: SAIC)
    """The distortion D of `bpp + λ D`."""
    steps: int = 20_000
    """Optimiser steps; the paper takes 2-3 x 10⁴."""
    batch: int = 32
    """Pictures a step; the paper takes 32."""
    learning_rate: float = 1e-5
    """Of AdamW, constant as in the paper, after `warmup`."""
    gain_rate: float = 1.0
    """Learning rates of the quantisation steps, in those of the nets. There are 200 of them, in
    logarithms: a short run moves them far enough only if this is large."""
    warmup: int = 20
    """Steps of linear warm-up."""
    decay: bool = False
    """Cosine decay of the learning rate to a twentieth."""
    low: float = 0.0
    """Lowest place on the quality scale that is trained, 0 .. 1."""
    high: float = 1.0
    """Highest place on the quality scale that is trained."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    ema: float = 0.99
    """Decay of the running average of weights, which is what a run gives."""
    integer: bool = True
    """Run the probability nets on their integer grid, as files are coded."""
    seed: int = 0
    """Of the order of pictures and of the qualities drawn: the same for every arm."""
    bf16: bool = True
    """Autocast to bfloat16; the linear path stays in float32."""

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= 1:
            raise UsageError(f"low={self.low}, high={self.high}: give 0 <= low <= high <= 1")
        if self.steps < 1 or self.batch < 1 or self.gain_rate < 0:
            raise UsageError("steps and batch must be positive, gain_rate not negative")

    def to_json(self) -> str:
        """The resolved configuration, as saved beside a result."""
        return json.dumps(asdict(self), sort_keys=True)


class FineTune(Generic[Net]):
    """State of one run: net, running average, optimiser, random generator.

    Args:
        start: trained net, or a new one of preset `saic`; left as it is.
        distortion: of the mix in `config`, with its downstream network.
        config: settings.
        device: where to train.
    """

    def __init__(
        self,
        start: Net,
        distortion: Distortion,
        config: FineTuneConfig,
        *,
        device: str | torch.device = "cpu",
    ) -> None:
        self.config, self.distortion = config, distortion
        self.device = torch.device(device)
        self.net: Net = copy.deepcopy(start)
        self.net.to(self.device).to(memory_format=torch.channels_last)
        self.net.requires_grad_(True).train()
        if isinstance(self.net, SicNet):
            self.net.context.set_quantised(config.integer)
        self.average: Net = copy.deepcopy(self.net)
        self.average.requires_grad_(False).eval()
        gains = [p for name, p in self.net.named_parameters() if name.startswith("gain")]
        others = [p for name, p in self.net.named_parameters() if not name.startswith("gain")]
        groups = [{"params": others, "share": 1.0}, {"params": gains, "share": config.gain_rate}]
        self.optimiser = torch.optim.AdamW(
            groups, lr=config.learning_rate, weight_decay=0.0, betas=(0.9, 0.98)
        )
        self.generator = torch.Generator().manual_seed(config.seed)
        self.step_number = 0

    def _learning_rate(self) -> float:
        c = self.config
        rate = c.learning_rate * min(1.0, (self.step_number + 1) / max(1, c.warmup))
        if c.decay:
            share = min(1.0, self.step_number / c.steps)
            rate *= 0.525 + 0.475 * math.cos(math.pi * share)
        return rate

    def _positions(self, count: int) -> Tensor:
        """Places on the quality scale, one in each of `count` equal parts of the range trained.

        A net of one rate knows no scale: its pictures all stand in the middle.
        """
        if isinstance(self.net, BinaryNet):
            middle = (self.config.low + self.config.high) / 2
            return torch.full((count,), middle, device=self.device)
        jitter = torch.rand(count, generator=self.generator)
        order = torch.randperm(count, generator=self.generator)
        c = self.config
        return (c.low + (c.high - c.low) * (order + jitter) / count).to(self.device)

    def backward(self, pictures: Tensor) -> dict[str, float]:
        """Gradients of one step on uint8 Bx3xHxW (sides multiples of 32), not yet applied.

        Returns the means of bpp, loss and each distortion term.
        """
        x = pictures.to(self.device).float()
        position = self._positions(len(x))
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bf16):
            targets = self.distortion.targets(x / 255)
            output = self.net(x, position)
            terms = self.distortion(output.x_hat.float() / 255, x / 255, targets)
        bpp = output.bits / (x.shape[2] * x.shape[3])
        lmbda = lagrangian(position)
        # The weight lambda^-1/2 makes equal relative savings count alike at every rate.
        weight = ((LAMBDA_MIN * LAMBDA_MAX) ** 0.5 / lmbda).sqrt()
        loss = (weight * (bpp + lmbda * terms["total"])).mean()
        torch.autograd.backward(loss)
        means = {name: float(value.detach().mean()) for name, value in terms.items()}
        return {"loss": float(loss.detach()), "bpp": float(bpp.detach().mean()), **means}

    def apply(self) -> float:
        """Clip, step, update the running average; returns the gradient's norm."""
        norm = float(nn.utils.clip_grad_norm_(self.net.parameters(), self.config.clip))
        if math.isfinite(norm):
            for group in self.optimiser.param_groups:
                group["lr"] = group["share"] * self._learning_rate()
            self.optimiser.step()
        self.step_number += 1
        decay = min(self.config.ema, (1 + self.step_number) / (10 + self.step_number))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.average.parameters()), list(self.net.parameters()), 1 - decay
            )
        return norm

    def step(self, pictures: Tensor) -> dict[str, float]:
        """`backward`, then `apply`."""
        return {**self.backward(pictures), "norm": self.apply()}

    def state_dict(self) -> dict[str, object]:
        """Everything that `load_state_dict` needs to go on."""
        return {
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "step": self.step_number,
        }

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Go on from `state_dict`."""
        self.net.load_state_dict(state["net"])  # type: ignore[arg-type]
        self.average.load_state_dict(state["average"])  # type: ignore[arg-type]
        self.optimiser.load_state_dict(state["optimiser"])  # type: ignore[arg-type]
        self.generator.set_state(state["generator"])  # type: ignore[arg-type]
        self.step_number = int(state["step"])  # type: ignore[call-overload]
