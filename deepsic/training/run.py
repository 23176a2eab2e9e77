"""The loop around a trainer: batches, log, validation and checkpoints, on one machine or many.

Who watches gets reports through a `Watcher`: `LocalWatcher` writes a folder, the pipelines' one
reports to Ray Train and MLflow.
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from deepsic.training.checkpoint import read_checkpoint, write_checkpoint
from deepsic.training.data.batches import Batches, Prefetched
from deepsic.training.data.crops import CropSize
from deepsic.training.data.images import ImageSet, Pixels, middle
from deepsic.training.trainer import Trainer
from deepsic.training.validation import validate

__all__ = [
    "BEST", "CHECKPOINT", "Finding", "LocalWatcher", "Pace", "Run", "Watcher", "crops_of",
    "resume", "starting_images",
]  # fmt: skip

CHECKPOINT, BEST = "state.pt", "best.pt"
_STARTERS = 24
"""Images that a start is measured on."""
_WARM_UP = 20
"""First steps of a process, which don't count in its speed."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How often what happens; none of it changes what is trained."""

    log_steps: int = 20
    """Steps between lines of the log; losses are read from the device only then."""
    epoch_steps: int = 500
    """Steps between validations; each ends with a checkpoint."""
    checkpoint_seconds: float = 300.0
    """Longest time between two checkpoints."""
    seconds: float = float("inf")
    """Stop after as long, with a checkpoint; the same command resumes."""
    steps: int | None = None
    """Stop after as many steps of the run, with a checkpoint."""
    validation_images: int = 8
    """Held-out images that are coded at every validation."""


class Finding(Protocol):
    """What the average was found to be worth."""

    @property
    def score(self) -> float:
        """What the best checkpoint has most of."""

    def metrics(self) -> dict[str, float]:
        """For a log."""


class Watcher(Protocol):
    """Who is called as a run goes on."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Losses, learning rate and speed since the last call."""

    def validated(self, step: int, found: Any) -> None:
        """What the average is worth: a `Finding`."""

    def save(self, state: Mapping[str, Any], metrics: Mapping[str, float], *, best: bool) -> None:
        """Keep a checkpoint; `metrics` are of a validation, if there was one."""

    def together(self, wish: bool) -> bool:
        """Whether the first worker wishes: all decide alike."""


@dataclass(kw_only=True)
class Run:
    """One worker's run of a trainer over images.

    Args:
        trainer: new, or loaded.
        images: to train on.
        held_out: to validate on; only the first worker does.
        watcher: is called as the run goes on.
        pace: how often.
        data_state: of the checkpoint that the trainer was loaded from.
        threads: that draw crops.
        evaluator: says what the average is worth; None: `validate` on `held_out`.
    """

    trainer: Trainer
    images: ImageSet
    held_out: ImageSet
    watcher: Watcher
    pace: Pace = field(default_factory=Pace)
    data_state: dict[str, Any] | None = None
    best: float = float("-inf")
    threads: int = 1
    evaluator: Callable[[Any], Finding] | None = None

    def __post_init__(self) -> None:
        self.waited = 0.0
        self.busy = 0.0
        self._sums: dict[str, torch.Tensor] = {}
        self._count = 0
        self._batches: Prefetched | None = None
        self._saved = self._begun = time.monotonic()
        self._first = self.trainer.step

    def run(self) -> bool:
        """Train to the end; whether it came there, or `pace` stopped it before."""
        trainer = self.trainer
        try:
            while not trainer.finished:
                if self._stops():
                    self._save({})
                    return False
                self._step()
                if trainer.step % self.pace.epoch_steps == 0 or trainer.finished:
                    self._validate()
                elif self.watcher.together(
                    time.monotonic() - self._saved > self.pace.checkpoint_seconds
                ):
                    self._save({})
        finally:
            self._close()
        return True

    def _stops(self) -> bool:
        late = time.monotonic() - self._begun > self.pace.seconds
        enough = self.pace.steps is not None and self.trainer.step >= self.pace.steps
        return self.watcher.together(late or enough)

    def _step(self) -> None:
        begun = time.monotonic()
        batch = next(self._drawn())
        waited = time.monotonic() - begun
        terms = self.trainer.advance(batch)
        if self.trainer.step - self._first > _WARM_UP:
            self.waited += waited
            self.busy += time.monotonic() - begun
        for name, value in terms.parts.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(value)) + value
        self._count += 1
        if self.trainer.step % self.pace.log_steps == 0 or self.trainer.finished:
            self._log(len(batch.images))

    def _drawn(self) -> Prefetched:
        """Batches of the present stage's crops."""
        trainer = self.trainer
        if trainer.enter_stage():
            self._close()
        if self._batches is None:
            number, at = trainer.recipe.stage_at(trainer.step)
            sizes = crops_of(trainer)
            batches = Batches(
                self.images, sizes, seed=trainer.recipe.seed * 100 + number, rank=trainer.rank,
                world=trainer.world,
            )  # fmt: skip
            if at and self.data_state is not None:
                batches.load_state_dict(self.data_state)
            self.data_state = None
            pin = trainer.device.type == "cuda"
            self._batches = Prefetched(batches, threads=self.threads, pin=pin)
        return self._batches

    def _log(self, batch: int) -> None:
        means = {name: float(value) / self._count for name, value in self._sums.items()}
        steps = self.trainer.step - self._first - _WARM_UP
        values = means | {"learning_rate": self.trainer.learning_rate(self.trainer.step - 1)}
        if self._batches is not None and self._batches.padded:
            values["images_below_crop_size"] = self._batches.padded
        if self.busy:
            values |= {
                "steps_per_second": steps / self.busy,
                "images_per_second": batch * self.trainer.world * steps / self.busy,
                "data_wait_share": self.waited / self.busy,
            }
        on_gpu = self.trainer.device.type == "cuda"
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in kB
        values["memory_gb"] = (torch.cuda.max_memory_allocated() if on_gpu else peak) / 1e9
        self.watcher.log(self.trainer.step, values)
        self._sums, self._count = {}, 0

    def _validate(self) -> None:
        metrics: dict[str, float] = {}
        best = False
        if self.trainer.rank == 0:
            found = (self.evaluator or self._validation)(self.trainer.average.module)
            self.watcher.validated(self.trainer.step, found)
            metrics, best = found.metrics(), found.score > self.best
            self.best = max(self.best, found.score)
        self._save(metrics, best=best)

    def _validation(self, net: Any) -> Finding:
        recipe = self.trainer.recipe
        return validate(net, self.held_out, bf16=recipe.bf16, look=bool(recipe.labels))

    def _save(self, metrics: Mapping[str, float], *, best: bool = False) -> None:
        self._saved = time.monotonic()
        if self.trainer.rank:
            self.watcher.save({}, metrics, best=False)
            return
        data = None if self._batches is None else self._batches.state_dict()
        state = self.trainer.state_dict() | {"data": data, "best": self.best}
        self.watcher.save(state, metrics, best=best)

    def _close(self) -> None:
        if self._batches is not None:
            self._batches.close()
            self._batches = None


class LocalWatcher:
    """A folder: `state.pt`, `best.pt`, `log.jsonl`; and a line for whoever looks on."""

    def __init__(self, folder: Path, say: Callable[[int, Mapping[str, float]], None]) -> None:
        self.folder, self._say = folder, say
        folder.mkdir(parents=True, exist_ok=True)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """A line of JSON, and what `say` makes of it."""
        rounded = {name: float(f"{value:.6g}") for name, value in values.items()}
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **rounded}) + "\n")
        self._say(step, values)

    def validated(self, step: int, found: Finding) -> None:
        """Another line of the log."""
        self.log(step, found.metrics())

    def save(self, state: Mapping[str, Any], metrics: Mapping[str, float], *, best: bool) -> None:
        """`state.pt`, and `best.pt` where it is the best."""
        write_checkpoint(self.folder / CHECKPOINT, state)
        if best:
            small = {name: value for name, value in state.items() if name != "optimiser"}
            write_checkpoint(self.folder / BEST, small)

    def together(self, wish: bool) -> bool:
        """There is one worker."""
        return wish


def starting_images(images: ImageSet) -> list[Pixels]:
    """Some of the training images (H, W, 3), sides multiples of 32, evenly over the set."""
    step = max(1, len(images) // _STARTERS)
    chosen = [middle(images.image(k), 512) for k in range(0, len(images), step)][:_STARTERS]
    return [image for image in chosen if min(image.shape[:2]) >= 32]


def resume(trainer: Trainer, path: Path) -> tuple[dict[str, Any] | None, float]:
    """Load a checkpoint into a trainer; the data's state and the best score so far.

    Raises: as `Trainer.load`.
    """
    state = read_checkpoint(path)
    trainer.load_state_dict(state)
    return state.get("data"), float(state.get("best", "-inf"))


def crops_of(trainer: Trainer) -> tuple[CropSize, ...]:
    """Crop sizes of the present stage."""
    return trainer.stage.crops or tuple(trainer.recipe.crops)
