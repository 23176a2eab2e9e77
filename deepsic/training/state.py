"""What a training run carries from step to step, and how it is saved and resumed."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from deepsic.errors import UsageError
from deepsic.models.sic.net import SicNet
from deepsic.training.checkpoint import write_checkpoint
from deepsic.training.config import TrainConfig
from deepsic.training.objective import Terms, draw_positions, rate_distortion
from deepsic.training.semantic_part import SemanticPart


class TrainState:
    """Net, running average, optimiser and position in the schedule of one worker."""

    def __init__(self, config: TrainConfig, *, rank: int = 0, device: str = "cpu") -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.device = torch.device(device)
        net = SicNet(config.model).to(self.device)
        self.net = net.to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.net).requires_grad_(False)
        self.semantics = SemanticPart(config, self.device) if config.semantic else None
        self.optimiser = torch.optim.AdamW(
            self.parameters(), lr=config.learning_rate, weight_decay=0.0, betas=(0.9, 0.98)
        )
        self.step = 0
        self.generator = torch.Generator().manual_seed(config.seed * 1000 + rank)

    def parameters(self) -> list[nn.Parameter]:
        """Of the net, and of the head if there is one."""
        head = self.semantics.head.parameters() if self.semantics else ()
        return [*self.net.parameters(), *head]

    @property
    def progress(self) -> float:
        """Share of the schedule that is done, 0 .. 1."""
        return self.step / self.config.steps

    @property
    def age(self) -> int:
        """Steps that the running average looks back on: it begins anew on the integer grid, where
        weights move fast at first."""
        start = math.ceil(self.config.quantise_at * self.config.steps)
        return self.step - start if self.step >= start else self.step

    def learning_rate(self) -> float:
        """Warm-up, then cosine to a hundredth."""
        c = self.config
        warm = min(1.0, (self.step + 1) / c.warmup)
        return c.learning_rate * warm * (0.505 + 0.495 * math.cos(math.pi * min(1, self.progress)))

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters that the last stage freezes: analysis and hyper-analysis."""
        yield from self.net.g_a.parameters()
        yield from self.net.h_a.parameters()

    def enter_stage(self) -> None:
        """Switch rounding and freezing to what the position in the schedule asks for."""
        quantised = self.progress >= self.config.quantise_at
        if quantised != self.net.context.quantised:
            self.net.context.set_quantised(quantised)
            self.average.context.set_quantised(quantised)
        frozen = self.progress >= self.config.freeze_at
        for parameter in self.encoder_parameters():
            parameter.requires_grad_(not frozen)

    def backward(self, crops: Tensor, labels: Tensor | None = None) -> Terms:
        """Gradients of the objective on uint8 crops (B, 3, H, W), not yet applied.

        Args:
            labels: classes (B,), -1 where there is none, for the semantic head.
        """
        self.enter_stage()
        x = crops.to(self.device).float()
        position = draw_positions(len(x), self.generator).to(self.device)
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bf16):
            output = self.net(x, position)
            terms = rate_distortion(output, x, position)
            if self.semantics is not None:
                if labels is None:
                    labels = torch.full((len(x),), -1)
                l_sem = self.semantics.loss(output, x, labels.to(self.device), position)
                loss = terms.loss + self.config.semantic * l_sem
                terms = replace(terms, loss=loss, semantic=l_sem.detach())
        terms.loss.backward()  # type: ignore[no-untyped-call]
        return terms

    def apply(self) -> float:
        """Clip, step, and update the running average; returns the gradient's norm."""
        norm = float(nn.utils.clip_grad_norm_(self.parameters(), self.config.clip))
        if math.isfinite(norm):
            for group in self.optimiser.param_groups:
                group["lr"] = self.learning_rate()
            self.optimiser.step()
        self.step += 1
        decay = min(self.config.ema, (1 + self.age) / (10 + self.age))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.average.parameters()), list(self.net.parameters()), 1 - decay
            )
        if self.semantics is not None:
            self.semantics.follow(decay)
        return norm

    def save(self, path: Path) -> None:
        """Write a checkpoint; never leaves a half-written one at `path`."""
        write_checkpoint(
            path,
            {
                "config": self.config.to_json(),
                "net": self.net.state_dict(),
                "average": self.average.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "step": self.step,
                "generator": self.generator.get_state(),
                **(self.semantics.state_dict() if self.semantics else {}),
            },
        )

    def load(self, path: Path, *, same_run: bool = True) -> None:
        """Resume from a checkpoint, or with `same_run=False` only take its weights as a start.

        Raises:
            UsageError: when the checkpoint belongs to a run with other settings.
        """
        saved = torch.load(path, map_location=self.device, weights_only=True)
        if not same_run:
            self.net.load_state_dict(saved["average"])
            self.average.load_state_dict(saved["average"])
            return
        if saved["config"] != self.config.to_json():
            raise UsageError(f"{path} is of a run with other settings; choose another folder")
        self.net.load_state_dict(saved["net"])
        self.average.load_state_dict(saved["average"])
        if self.semantics is not None:
            self.semantics.load_state_dict(saved)
        self.optimiser.load_state_dict(saved["optimiser"])
        self.step = int(saved["step"])
        self.generator.set_state(saved["generator"].cpu())
