"""Training of the first paper's presets: DeepSIC section III-E and IV-B.

    L = R + lambda_1 D + lambda_2 L_sem                                               Eq. 4

`PAPER_RECIPE` is section IV-B's: Adam at 0.003, decayed twice by a factor of 5, batches of 32
patches of 128x128, one net a rate, 8,000,000 iterations. `OUR_RECIPE` has one net for all rates,
starts from a lapped transform and decays by a cosine. `FourStageState` has the methods of
`TrainState`, so that one loop trains all presets.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepsic import weights
from deepsic.errors import UnknownModelError, UsageError
from deepsic.models.fourstage.config import OURS, PAPER, FourStageConfig
from deepsic.models.fourstage.file import unpack_four_stage
from deepsic.models.fourstage.net import FourStageNet, FourStageOutput
from deepsic.models.fourstage.semantic import UNLABELLED, semantic_loss
from deepsic.models.fourstage.start import start_linear
from deepsic.models.quality import LAMBDA_MAX, LAMBDA_MIN, lagrangian
from deepsic.training.checkpoint import write_checkpoint
from deepsic.training.objective import Terms, draw_positions

__all__ = [
    "OUR_RECIPE", "PAPER_RECIPE", "FourStageState", "FourStageTrainConfig", "joint_loss",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class FourStageTrainConfig:
    """One run."""

    model: FourStageConfig = field(default_factory=lambda: OURS)
    steps: int = 20_000
    """Optimiser steps of the whole schedule."""
    batch: int = 8
    """Crops a worker and step."""
    crop: int = 128
    """Side of a crop, pixels; a multiple of 32."""
    learning_rate: float = 1e-3
    """Of Adam, at its peak."""
    schedule: str = "cosine"
    """"cosine", to a fiftieth, or "steps": two decays by 5, after a half and three quarters."""
    warmup: int = 100
    """Steps of linear warm-up."""
    linear_share: float = 0.02
    """Of the learning rate, for the stages that the linear start filled: more undoes them."""
    linear_start: bool = True
    """Start from the lapped transform of `models/fourstage/start.py`; else at random."""
    lambda1: float = 0.01
    """Of Eq. 4, D in squares of 0-255, for a net of one rate; many rates have a lambda each."""
    lambda2: float = 0.05
    """Of Eq. 4; 0 leaves the semantic module untrained."""
    low: float = 0.06
    """Lowest place on the quality scale that is trained, 0 .. 1."""
    high: float = 0.85
    """Highest place."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    ema: float = 0.998
    """Decay of the running average of weights that is exported."""
    labels: str = "imagenette"
    """Label set of the semantic module's classes."""
    seed: int = 0
    bf16: bool = True
    """Autocast to bfloat16: costs 0.15 % of rate in the linear path, and a quarter less time."""

    def __post_init__(self) -> None:
        if self.crop % 32:
            raise UsageError(f"crop={self.crop} must be a multiple of 32")
        if self.steps < 1 or self.batch < 1:
            raise UsageError("steps and batch must be positive")
        if self.schedule not in ("cosine", "steps"):
            raise UsageError(f"schedule={self.schedule!r} is neither cosine nor steps")
        if not 0 <= self.low <= self.high <= 1:
            raise UsageError(f"low={self.low}, high={self.high}: give 0 <= low <= high <= 1")
        if min(self.lambda1, self.lambda2) < 0:
            raise UsageError("lambda1 and lambda2 are weights: give 0 or more")

    @property
    def semantic(self) -> float:
        """lambda_2, by the name that `TrainConfig` has for it."""
        return self.lambda2

    def to_json(self) -> str:
        """The resolved configuration, sorted, as saved beside every checkpoint."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> FourStageTrainConfig:
        """Inverse of `to_json`."""
        values = json.loads(text)
        return cls(**{**values, "model": FourStageConfig(**values["model"])})

    @property
    def identity(self) -> str:
        """Eight hex digits that change with any setting: part of the run's name."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:8]


PAPER_RECIPE = FourStageTrainConfig(
    model=PAPER, steps=8_000_000, batch=32, crop=128, learning_rate=0.003, schedule="steps",
    warmup=1, linear_share=1.0, linear_start=False,
    clip=math.inf, ema=0.0, bf16=False,
)  # fmt: skip
OUR_RECIPE = FourStageTrainConfig()


def joint_loss(
    output: FourStageOutput,
    x: Tensor,
    labels: Tensor,
    position: Tensor,
    config: FourStageTrainConfig,
) -> Terms:
    """Eq. 4, with D the mean squared error of Eq. 7 over a pixel and R in bits a pixel.

    With many rates each picture has a lambda_1 of its own, and the weight that
    `rate_distortion` gives it.

    Args:
        x: RGB (B, 3, H, W) in [0, 255].
        labels: classes (B,), -1 for none.
        position: place on the quality scale (B,).
    """
    bpp = output.bits / (x.shape[2] * x.shape[3])
    mse = (output.x_hat - x).square().mean((1, 2, 3))
    if config.model.many_rates:
        lmbda = lagrangian(position)
        weight = ((LAMBDA_MIN * LAMBDA_MAX) ** 0.5 / lmbda).sqrt()
        loss = (weight * (bpp + lmbda * mse)).mean()
    else:
        loss = (bpp + config.lambda1 * mse).mean()
    semantic = None
    if config.lambda2:
        l_sem = semantic_loss(output.logits, labels)
        loss, semantic = loss + config.lambda2 * l_sem, l_sem.detach()
    return Terms(loss=loss, bpp=bpp.detach(), mse=mse.detach(), semantic=semantic)


class FourStageState:
    """Net, running average, optimiser and position in the schedule of one worker."""

    def __init__(self, config: FourStageTrainConfig, *, rank: int = 0, device: str = "cpu") -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.device = torch.device(device)
        net = FourStageNet(config.model).to(self.device)
        self.net = net.to(memory_format=torch.channels_last).train()
        self.average = copy.deepcopy(self.net).requires_grad_(False).eval()
        self.optimiser = torch.optim.Adam(self._groups(), lr=config.learning_rate)
        self.step = 0
        self.semantics = None
        """What `TrainState` keeps of a head beside its net; here the module is part of the net."""
        self.generator = torch.Generator().manual_seed(config.seed * 1000 + rank)

    def begin(self, pictures: Sequence[NDArray[np.uint8]]) -> None:
        """Set the weights that training starts from, if the config wants the linear start.

        Args:
            pictures: training pictures (H, W, 3) uint8 that bands are measured on.
        """
        if self.config.linear_start:
            start_linear(self.net, pictures)
            self.average.load_state_dict(self.net.state_dict())
            self.net.train()

    def begin_from(self, path: Path) -> None:
        """Set the weights that training starts from to those of a checkpoint or a model file.

        Raises:
            UnknownModelError: no model file of the first paper's presets, or of another net.
        """
        if path.suffix == ".pt":
            self.load(path, same_run=False)
            return
        trained = unpack_four_stage(weights.read(path), self.device).net
        try:
            self.net.load_state_dict(trained.state_dict())
        except RuntimeError as error:
            raise UnknownModelError(f"{path} holds another net: {error}") from None
        self.average.load_state_dict(self.net.state_dict())

    def _groups(self) -> list[dict[str, Any]]:
        """Parameters with their share of the learning rate: the linear path, and the rest."""
        net = self.net
        linear: list[nn.Parameter] = [net.mirror_x, net.mirror_y]
        stages = [*net.extraction.parts(), *net.reconstruction.parts()]
        in_steps = [*net.extraction.in_steps, *net.reconstruction.in_steps]
        for stage, stays in zip(stages, in_steps, strict=True):
            linear += [] if stays else list(stage.parameters())
        slow = {id(parameter) for parameter in linear}
        rest = [parameter for parameter in net.parameters() if id(parameter) not in slow]
        return [
            {"params": linear, "share": self.config.linear_share},
            {"params": rest, "share": 1.0},
        ]

    def parameters(self) -> list[nn.Parameter]:
        """All that is trained."""
        return list(self.net.parameters())

    @property
    def progress(self) -> float:
        """Share of the schedule that is done, 0 .. 1."""
        return self.step / self.config.steps

    def learning_rate(self) -> float:
        """By the schedule."""
        c = self.config
        rate = c.learning_rate * min(1.0, (self.step + 1) / max(1, c.warmup))
        if c.schedule == "steps":
            return rate * 0.2 ** sum(self.progress >= at for at in (0.5, 0.75))
        return rate * (0.51 + 0.49 * math.cos(math.pi * min(1.0, self.progress)))

    def backward(self, crops: Tensor, labels: Tensor | None = None) -> Terms:
        """Gradients of Eq. 4 on uint8 crops (B, 3, H, W) of classes (B,), not yet applied."""
        c = self.config
        x = crops.to(self.device).float()
        position = draw_positions(len(x), self.generator).to(self.device)
        position = c.low + (c.high - c.low) * position
        if labels is None:
            labels = torch.full((len(x),), UNLABELLED)
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=c.bf16):
            output = self.net(x, position, look=c.lambda2 > 0)
        terms = joint_loss(output, x, labels.to(self.device), position, c)
        torch.autograd.backward(terms.loss)
        return terms

    def apply(self) -> float:
        """Clip, step, and update the running average; returns the gradient's norm."""
        norm = float(nn.utils.clip_grad_norm_(self.net.parameters(), self.config.clip))
        if math.isfinite(norm):
            for group in self.optimiser.param_groups:
                group["lr"] = self.learning_rate() * group["share"]
            self.optimiser.step()
        self.step += 1
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.average.parameters()), list(self.net.parameters()), 1 - decay
            )
            for mine, current in zip(self.average.buffers(), self.net.buffers(), strict=True):
                mine.copy_(current)
        return norm

    def save(self, path: Path) -> None:
        """Write a checkpoint; never leaves a half-written one at `path`."""
        write_checkpoint(
            path,
            {
                "config": self.config.to_json(),
                "preset": self.config.model.preset,
                "net": self.net.state_dict(),
                "average": self.average.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "step": self.step,
                "generator": self.generator.get_state(),
                "random": torch.get_rng_state(),
            },
        )

    def load(self, path: Path, *, same_run: bool = True) -> None:
        """Resume from a checkpoint, or with `same_run=False` only take its weights as a start.

        Raises:
            UsageError: when the checkpoint belongs to a run with other settings.
        """
        saved = torch.load(path, map_location=self.device, weights_only=True)
        if same_run and saved["config"] != self.config.to_json():
            raise UsageError(f"{path} is of a run with other settings; choose another folder")
        self.net.load_state_dict(saved["net"] if same_run else saved["average"])
        self.average.load_state_dict(saved["average"])
        if same_run:
            self.optimiser.load_state_dict(saved["optimiser"])
            self.step = int(saved["step"])
            self.generator.set_state(saved["generator"].cpu())
            torch.set_rng_state(saved["random"].cpu())  # which dropout draws from
