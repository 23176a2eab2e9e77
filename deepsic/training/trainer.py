"""The net in training: one step, one average, one schedule, one save, for every recipe.

`pipelines/training/loop.py` runs it under Ray Train, `deepsic.training.local` with nothing but
torch.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from deepsic.errors import UsageError
from deepsic.training.checkpoint import read_checkpoint, write_checkpoint
from deepsic.training.data.batches import Batch
from deepsic.training.objectives.terms import Step, Terms, Working, step_seed
from deepsic.training.recipe import Recipe, Stage
from deepsic.training.start import Find, begin, new_net, start_net
from deepsic.weights import resolve

__all__ = ["Trainer"]

Wrap = Callable[[nn.Module], nn.Module]


class Trainer:
    """Net, running average, optimiser and place in the schedule of one worker.

    Args:
        recipe: with the number of classes of its label set.
        rank, world: of this worker, and how many there are.
        device: where to train.
        wrap: makes a module data-parallel, such as `ray.train.torch.prepare_model`; called at the
            start and wherever a stage freezes other modules.
        compiled: run the step through `torch.compile`, on a GPU.
        find: gives the file of a start's name or place.
    """

    def __init__(
        self,
        recipe: Recipe[Any, Any],
        *,
        rank: int = 0,
        world: int = 1,
        device: str | torch.device = "cpu",
        wrap: Wrap = lambda module: module,
        compiled: bool = False,
        find: Find = resolve,
    ) -> None:
        self.recipe, self.rank, self.world = recipe, rank, world
        self.device = torch.device(device)
        if compiled and self.device.type == "cpu":
            raise UsageError(
                "steps on a CPU can't go through torch.compile, which can't trace their sweeps: "
                "leave --compiled out, or give --device cuda"
            )
        self._wrap, self._compiled = wrap, compiled
        torch.manual_seed(recipe.seed)
        net: Any = start_net(recipe, find) if recipe.start else new_net(recipe)
        self.net: Any = net.to(self.device, memory_format=torch.channels_last).train()
        self.average = AveragedModel(self.net, multi_avg_fn=self._follow).requires_grad_(False)
        self.average.eval()
        self.average.n_averaged += 1  # at 0 it would copy, after a resume as well
        self.objective: Working = recipe.objective.build(recipe.labels, self.device)
        self.step = 0
        self.entered = -1
        self._optimiser()
        self.enter_stage()

    def begin(self, images: Sequence[NDArray[np.uint8]]) -> str:
        """Measure on training images (H, W, 3) what the start needs; returns what was done.

        Not after `load`: a checkpoint has it.
        """
        done = begin(self.net, self.recipe, images)
        teacher = getattr(self.objective, "teacher", None)
        if teacher is not None and hasattr(self.net, "semantic_module"):
            taken = 0
            if not self.net.has_trained_head:
                taken = teacher.give_weights(self.net.semantic_module)
            done = ", ".join(filter(None, (done, f"{taken} of the teacher's blocks" * bool(taken))))
        self.average.module.load_state_dict(self.net.state_dict())
        self.objective.begin(images)
        return done

    @property
    def finished(self) -> bool:
        """Whether all stages are done."""
        return self.step >= self.recipe.steps

    @property
    def stage(self) -> Stage:
        """That the next step is in."""
        return self.recipe.stages[self.recipe.stage_at(self.step)[0]]

    def parameters(self) -> list[nn.Parameter]:
        """All that the stage trains."""
        return [p for p in self.net.parameters() if p.requires_grad]

    def learning_rate(self, step: int | None = None) -> float:
        """Of a step, or of the next one, before a group's share."""
        number, at = self.recipe.stage_at(self.step if step is None else step)
        stage = self.recipe.stages[number]
        rate = stage.learning_rate * min(1.0, (at + 1) / max(1, stage.warmup))
        done = min(1.0, at / stage.steps)
        if stage.decay == "cosine":
            low = stage.floor
            rate *= (1 + low) / 2 + (1 - low) / 2 * math.cos(math.pi * done)
        elif stage.decay == "fifths":
            rate *= 0.2 ** sum(done >= half for half in (0.5, 0.75))
        return rate

    def enter_stage(self) -> bool:
        """Apply what the present stage asks for; whether it is another than before."""
        number, _ = self.recipe.stage_at(self.step)
        if number == self.entered:
            return False
        self.entered, stage = number, self.recipe.stages[number]
        nets: list[Any] = [self.net, self.average.module]
        for net in nets:
            net.set_quantised(stage.integer)
        names = [name for name, _ in self.net.named_parameters()]
        for prefix in stage.frozen:
            if not any(name.startswith(prefix) for name in names):
                raise UsageError(f"stage {number} freezes {prefix!r}, which the net doesn't have")
        for name, parameter in self.net.named_parameters():
            parameter.requires_grad_(not name.startswith(stage.frozen))
        module = self.objective.module(self.net)
        if self._compiled:
            module.compile()
        self.model = self._wrap(module)
        return True

    def forward(self, batch: Batch) -> Terms:
        """Loss of a batch of uint8 crops (B, 3, H, W)."""
        recipe = self.recipe
        # Nothing random runs on from step to step, so that a resumed run draws what it would have.
        torch.manual_seed(step_seed(recipe.seed, 3, self.rank, self.step))
        x = batch.images.to(self.device, non_blocking=True).float()
        labels = batch.labels.to(self.device, non_blocking=True)
        step = Step(
            x=x, labels=labels, number=self.step, seed=recipe.seed, rank=self.rank,
            world=self.world,
        )  # fmt: skip
        with torch.autocast(self.device.type, torch.bfloat16, enabled=recipe.bf16):
            return self.objective(self.model, step)

    def advance(self, batch: Batch) -> Terms:
        """One step; its terms also hold the gradient's norm. Nothing waits for the device."""
        self.enter_stage()
        self.optimiser.zero_grad(set_to_none=True)
        terms = self.forward(batch)
        torch.autograd.backward(terms.loss)
        clip = self.recipe.optimiser.clip or math.inf
        norm = nn.utils.clip_grad_norm_(self.parameters(), clip)
        self._drop_if_not_finite(norm)
        self.optimiser.step()
        self.step += 1
        self.scheduler.step()
        self.average.update_parameters(self.net)
        parts = {"loss": terms.loss.detach(), **terms.parts, "gradient_norm": norm}
        return Terms(loss=terms.loss.detach(), parts=parts)

    def state_dict(self) -> dict[str, Any]:
        """All that a worker needs to resume; the same on every rank."""
        return {
            "recipe": self.recipe.to_json(),
            "net": self.net.state_dict(),
            "average": self.average.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from `state_dict`.

        Raises:
            UsageError: it is of a run with another recipe.
        """
        if state["recipe"] != self.recipe.to_json():
            raise UsageError(
                "the checkpoint is of a run with another recipe: give the same overrides, or "
                "another folder for a new run"
            )
        self.net.load_state_dict(state["net"])
        self.average.module.load_state_dict(state["average"])
        self.step = int(state["step"])
        if state.get("optimiser"):
            self.optimiser.load_state_dict(state["optimiser"])
        self._schedule()
        self.enter_stage()

    def save(self, path: Path, **more: Any) -> None:
        """Write a checkpoint, whole or not at all; `more` is kept beside the state."""
        write_checkpoint(path, self.state_dict() | more)

    def load(self, path: Path) -> dict[str, Any]:
        """Resume from a checkpoint; returns all that it holds.

        Raises:
            InputError: no checkpoint.
            UsageError: it is of a run with another recipe.
        """
        state = read_checkpoint(path)
        self.load_state_dict(state)
        return state

    def _optimiser(self) -> None:
        optimiser = self.recipe.optimiser
        shares = dict(optimiser.shares)
        groups = self.net.groups()
        unknown = sorted(shares.keys() - groups.keys())
        if unknown:
            raise UsageError(
                f"shares names {', '.join(unknown)}; this net has {', '.join(sorted(groups))}"
            )
        named = {id(p) for name in shares for p in groups[name]}
        rest = [p for p in self.net.parameters() if id(p) not in named]
        parts = [(rest, 1.0)] + [(groups[name], share) for name, share in shares.items()]
        self._shares = [share for parameters, share in parts if parameters]
        self.optimiser = torch.optim.AdamW(
            [{"params": parameters} for parameters, _ in parts if parameters],
            lr=1.0, betas=optimiser.betas, weight_decay=optimiser.weight_decay,
            fused=self.device.type in ("cpu", "cuda"),
        )  # fmt: skip
        self._schedule()

    def _schedule(self) -> None:
        """The learning rate is a function of the step alone, so that it needs no state."""
        for group in self.optimiser.param_groups:
            group["initial_lr"] = group["lr"] = 1.0
        start = self.step
        rates: list[Callable[[int], float]] = [
            functools.partial(self._rate, start, share) for share in self._shares
        ]
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimiser, rates)

    def _rate(self, start: int, share: float, at: int) -> float:
        return share * self.learning_rate(start + at)

    def _drop_if_not_finite(self, norm: Tensor) -> None:
        """A gradient that isn't finite counts as zero; an accelerator decides it by itself."""
        finite = torch.isfinite(norm)
        if self.device.type == "cpu" and finite:
            return
        for parameter in self.parameters():
            if parameter.grad is not None:
                parameter.grad = torch.where(finite, parameter.grad, 0.0)

    @torch.no_grad()
    def _follow(
        self, average: Sequence[Tensor], current: Sequence[Tensor], _: Tensor | int
    ) -> None:
        """Move the running average; within a stage's first steps faster."""
        at = self.recipe.stage_at(self.step)[1]
        decay = min(self.recipe.optimiser.ema, (1 + at) / (10 + at))
        torch._foreach_lerp_(list(average), list(current), 1 - decay)
