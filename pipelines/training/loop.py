"""What every worker of Ray Train runs."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed

from deepsic.training.four_stage import FourStageState
from deepsic.training.objective import Terms
from deepsic.training.presets import AnyState, new_state
from deepsic.training.revive import revive
from deepsic.training.start import load_start
from pipelines import tracking
from pipelines.training.board import Board
from pipelines.training.job import TrainJob
from pipelines.training.pictures import Pixels, Prepared
from pipelines.training.validate import top1, validate

__all__ = ["CHECKPOINT", "train_loop"]

CHECKPOINT = "state.pt"
_LOG_EVERY = 20
_STARTERS = 24
"""Pictures that a linear start is measured on, and that show which units of a start are dead."""
_WARM_UP = 20
"""First steps of a worker, which don't count in its speed."""


def train_loop(loop: dict[str, Any]) -> None:
    """Train from the last checkpoint, or from the start, to the end of the schedule."""
    import ray.train

    job: TrainJob = loop["job"]
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # subnormal gradients would slow steps tenfold
    device = "cuda" if job.gpu else "cpu"
    state = new_state(job.config, rank=rank, device=device)
    pictures = Prepared(
        job.data, rank=rank, world=world, memory_mb=job.memory_mb, hold_out=job.hold_out,
        labels=job.config.labels if job.config.semantic else None,
    )  # fmt: skip
    _start(state, job, pictures)
    worker = _Worker(job, state, pictures, rank, world, loop.get("board"))
    if rank:
        worker.run(tracking.Run())
        return
    tracking.close_stale("train", uri=job.tracking_uri, name_prefix=job.name)
    with tracking.tracked(
        "train", run_name=job.name, uri=job.tracking_uri, params=job.params(), tags=loop["about"]
    ) as run:
        worker.run(run)


def _start(state: AnyState, job: TrainJob, pictures: Prepared) -> None:
    import ray.train

    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            state.load(Path(folder) / CHECKPOINT)
    elif isinstance(state, FourStageState):
        if job.init:
            state.begin_from(Path(job.init))
        else:
            state.begin(pictures.validation(_STARTERS))
    elif job.init:
        weights = load_start(job.init).state_dict()
        state.net.load_state_dict(weights)
        revive(state.net, pictures.validation(_STARTERS))
        state.average.load_state_dict(state.net.state_dict())


class _Worker:
    def __init__(
        self, job: TrainJob, state: AnyState, pictures: Prepared, rank: int, world: int,
        board: Board | None,
    ) -> None:  # fmt: skip
        self.job, self.state, self.pictures = job, state, pictures
        self.rank, self.world, self.board = rank, world, board
        self.saved = time.monotonic()
        self.waited = 0.0
        self.begun_at = state.step
        self.busy = 0.0

    def run(self, run: tracking.Run) -> None:
        job, state = self.job, self.state
        held = self._held() if self.rank == 0 else []
        if self.rank == 0 and self.board is not None:
            self.board.start.remote(state.step)  # type: ignore[attr-defined]
        while state.step < job.config.steps:
            # A resumed run draws other crops than those it has seen, whatever it lost.
            sampler = self.pictures.sampler(
                job.config.crop,
                seed=self.rank + 1000 * state.step + 7 * job.config.seed,
                round_number=state.step // job.epoch_steps,
            )
            epoch_end = min((state.step // job.epoch_steps + 1) * job.epoch_steps, job.config.steps)
            while state.step < epoch_end:
                begun = time.monotonic()
                crops, labels = sampler.draw(job.config.batch)
                self.waited += time.monotonic() - begun
                terms = state.backward(crops, labels)
                due = self._average_gradients() and state.step + 1 < epoch_end
                norm = state.apply()
                if self.rank == 0:
                    self._log(run, terms, norm)
                if due:
                    self._report({})
                if state.step - self.begun_at > _WARM_UP:
                    self.busy += time.monotonic() - begun
            metrics: dict[str, float] = {}
            if self.rank == 0:
                metrics = self._validate(run, held)
            self._report(metrics)

    def _average_gradients(self) -> bool:
        """Mean over workers, in one message; whether the first one wants a checkpoint now."""
        late = time.monotonic() - self.saved > self.job.checkpoint_seconds
        if self.world == 1:
            return late
        gradients = [_gradient(p) for p in self.state.parameters() if p.requires_grad]
        flag = gradients[0].new_tensor([float(late and self.rank == 0)])
        flat = torch.cat([g.reshape(-1) for g in gradients] + [flag])
        distributed.all_reduce(flat)
        parts: list[Tensor] = list(
            torch.split(flat[:-1] / self.world, [g.numel() for g in gradients])
        )
        views = [part.view_as(g) for g, part in zip(gradients, parts, strict=True)]
        torch._foreach_copy_(gradients, views)
        return bool(flat[-1] > 0)

    def _log(self, run: tracking.Run, terms: Terms, norm: float) -> None:
        step = self.state.step
        if step % _LOG_EVERY and step != self.job.config.steps:
            return
        mse = float(terms.mse.mean())
        values = {
            "loss/total": float(terms.loss.detach()), "loss/rate": float(terms.bpp.mean()),
            "loss/distortion": mse, "gradient_norm": norm,
            "learning_rate": self.state.learning_rate(), "data_wait_s": self.waited,
        }  # fmt: skip
        if terms.semantic is not None:
            values["loss/semantic"] = float(terms.semantic)
        run.metrics(values, step)
        if self.board is not None:
            self.board.post.remote(step, values["loss/total"], values["loss/rate"])  # type: ignore[attr-defined]

    def _held(self) -> list[tuple[Pixels, int]]:
        """Pictures that validate: more where classes are counted, which needs many."""
        job = self.job
        return self.pictures.labelled(
            max(job.val_pictures, job.val_labelled) if job.config.semantic else job.val_pictures
        )

    def _validate(self, run: tracking.Run, held: list[tuple[Pixels, int]]) -> dict[str, float]:
        every = max(1, len(held) // self.job.val_pictures)
        chosen = held[::every][: self.job.val_pictures]
        result = validate(self.state.average, [picture for picture, _ in chosen])
        metrics = result.metrics()
        if self.state.semantics is not None:
            metrics |= top1(self.state.average, self.state.semantics.average, held)
        run.metrics(metrics, self.state.step)
        with tempfile.TemporaryDirectory() as folder:
            result.write(Path(folder))
            run.artifact(Path(folder), f"step_{self.state.step:07d}")
        return metrics

    def _report(self, metrics: dict[str, float]) -> None:
        import ray.train

        self.saved = time.monotonic()
        values = metrics | {"step": self.state.step, "data_wait_s": self.waited}
        if self.busy:
            steps = self.state.step - self.begun_at - _WARM_UP
            values["steps_per_s"] = steps / self.busy
        if self.rank:
            ray.train.report(values)
            return
        with tempfile.TemporaryDirectory() as folder:
            self.state.save(Path(folder) / CHECKPOINT)
            ray.train.report(values, checkpoint=ray.train.Checkpoint.from_directory(folder))


def _gradient(parameter: torch.nn.Parameter) -> Tensor:
    """A parameter's gradient; zeros where this worker's crops gave none, but another's may."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad
