"""The semantic head of a trained codec: lessons, training, and the model file with it."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from deepsic import weights
from deepsic.codec import Codec
from deepsic.errors import InputError, UsageError
from deepsic.evaluation.provenance import provenance
from deepsic.labels import label_set
from deepsic.models.fourstage.config import PRESETS
from deepsic.models.fourstage.engine import FourStageEngine
from deepsic.models.fourstage.file import unpack_four_stage, with_semantics
from deepsic.models.fourstage.semantic import SemanticModule
from deepsic.models.semantic.head import HeadConfig, SemanticHead
from deepsic.models.semantic.head_file import unpack_head, with_head
from deepsic.models.sic.engine import SicEngine
from deepsic.training.head import HeadTraining, HeadTrainingConfig, top1
from deepsic.training.lessons import Lessons, lessons
from deepsic.training.teacher import Teacher
from deepsic.weights import ModelFile
from pipelines import console, tracking
from pipelines.manifest import Manifest
from pipelines.training.pictures import class_numbers, is_held_out, read_shard

__all__ = ["HeadJob", "train_head"]

_SAVE_SECONDS = 60.0
_LOG_EVERY = 20


@dataclass(frozen=True, kw_only=True)
class HeadJob:
    """One head for one model file."""

    model: Path
    """Codec that the head belongs to; it stays as it is."""
    data: str
    """Folder of a version that `preprocess.py` made."""
    out: Path
    """Model file with head."""
    config: HeadTrainingConfig
    labels: str = "imagenette"
    teacher: str | None = "efficientnet-lite0"
    """Network whose answers and weights are taken; None: labels alone."""
    start: Path | None = None
    """Model file whose head is the start."""
    views: int = 2
    """Lessons of each picture: the first whole, the others cropped and mirrored."""
    qualities: tuple[int, int] = (8, 30)
    """Of the decoded latents, drawn for each lesson."""
    hold_out: int = 16
    """Every n-th file is kept for `val/top1`."""
    folder: Path = Path("runs/head")
    """Lessons and checkpoints."""
    seconds: float = float("inf")
    """Stop after as long, with a checkpoint; the same command goes on."""
    tracking_uri: str = "off"

    def __post_init__(self) -> None:
        low, high = self.qualities
        if not 1 <= low <= high <= 100:
            raise UsageError(f"qualities {low} to {high}: give two of 1 .. 100, lower first")
        if self.views < 1 or self.hold_out < 2:
            raise UsageError("views must be positive, hold_out at least 2")

    def lessons_hash(self) -> str:
        """Of all that the lessons follow from."""
        parts = [
            weights.identity_of(self.model).hex(), Manifest.read(self.data).hash, self.labels,
            self.teacher, self.views, self.qualities, self.hold_out,
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]


def train_head(job: HeadJob) -> dict[str, float] | None:
    """Train and write the model file; None when `seconds` ended it before.

    Returns: `val/top1_pre` and `val/top1_post` on pictures held out of the data.

    Raises:
        InputError: a picture without class and no teacher, or no prepared pictures.
        UsageError: a teacher that lacks classes of the label set.
    """
    end = time.monotonic() + job.seconds
    torch.set_flush_denormal(True)
    name = job.lessons_hash()
    made = _lessons(job, job.folder / name, end)
    if made is None:
        console.say("out of time; the same command goes on")
        return None
    training, taught = _training(job, made[0], name)
    with tracking.tracked(
        "head",
        run_name=f"{job.model.stem}-{name}",
        uri=job.tracking_uri,
        params=asdict(job.config) | {"teacher": job.teacher, "model": str(job.model)},
        tags=provenance(),
    ) as run:
        if not _train(job, training, job.folder / name, run, end):
            console.say("out of time; the same command goes on")
            return None
        found = {
            "val/top1_pre": top1(training.average, made[1], post=False),
            "val/top1_post": top1(training.average, made[1], post=True),
        }
        run.metrics(found, training.step)
    about: dict[str, object] = provenance() | found | {
        "teacher": job.teacher, "blocks_from_teacher": taught, "config": asdict(job.config),
        "data": Manifest.read(job.data).about(),
    }  # fmt: skip
    average = training.average
    model = weights.read(job.model)
    if isinstance(average, SemanticModule):
        model = with_semantics(model, average, job.labels, about)
    else:
        model = with_head(model, average, job.labels, about)
    job.out.parent.mkdir(parents=True, exist_ok=True)
    weights.write(job.out, model)
    return found


def _training(job: HeadJob, data: Lessons, name: str) -> tuple[HeadTraining, int]:
    config = replace(job.config, lessons=name)
    classes = len(label_set(job.labels).classes())
    config = replace(config, head=HeadConfig(**asdict(config.head) | {"classes": classes}))
    torch.manual_seed(config.seed)
    model = weights.read(job.model)
    if model.preset in PRESETS:
        return _module_training(job, model, data, config)
    head, taught = SemanticHead(config.head), 0
    if job.start is not None:
        started = unpack_head(weights.read(job.start))
        if started is None or started.config.classes != classes:
            raise UsageError(f"{job.start} has no head with {classes} classes")
        head, taught = started.requires_grad_(True), len(started.blocks)
        config = replace(config, head=started.config)
    elif job.teacher is not None:
        taught = Teacher(job.labels, job.teacher).give_weights(head)
    if job.teacher is None:
        config = replace(config, hint_steps=0)
    return HeadTraining(config, head, data, taught=taught > 0), taught


def _module_training(
    job: HeadJob, model: ModelFile, data: Lessons, config: HeadTrainingConfig
) -> tuple[HeadTraining, int]:
    """The same for the semantic module of the first paper's presets, which sees one kind."""
    config = replace(config, post=1.0 if PRESETS[model.preset] == "post" else 0.0)
    codec = unpack_four_stage(model, torch.device("cpu")).net
    sizes = codec.config
    if sizes.classes != config.head.classes:
        raise UsageError(f"{job.model} has {sizes.classes} classes, {job.labels} has not")
    module, taught = SemanticModule(sizes.filters, sizes.width, sizes.classes), 0
    if job.start is not None:
        started = unpack_four_stage(weights.read(job.start), torch.device("cpu")).net
        if (started.config.filters, started.config.width) != (sizes.filters, sizes.width):
            raise UsageError(f"{job.start} is of other sizes than {job.model}")
        module.load_state_dict(started.semantic.state_dict())
        taught = len(module.blocks)
    elif job.teacher is not None:
        taught = Teacher(job.labels, job.teacher).give_weights(module)
    module.level.load_state_dict(codec.semantic.level.state_dict())
    if job.teacher is None:
        config = replace(config, hint_steps=0)
    return HeadTraining(config, module, data, taught=taught > 0), taught


def _train(
    job: HeadJob, training: HeadTraining, folder: Path, run: tracking.Run, end: float
) -> bool:
    """Whether it came to its end."""
    state = training.config.to_json() + str(job.start)
    path = folder / f"head-{hashlib.sha256(state.encode()).hexdigest()[:8]}.pt"
    if path.exists():
        training.load(path)
    saved = time.monotonic()
    with console.progress("head", training.total) as progress:
        progress.advance(training.step)
        for loss in training.run():
            progress.advance()
            if training.step % _LOG_EVERY == 0:
                kind = "hint" if training.step <= training.config.hint_steps else "semantic"
                run.metrics({f"loss/{kind}": loss}, training.step)
                progress.show(loss=round(loss, 4))
            now = time.monotonic()
            if now - saved > _SAVE_SECONDS or now > end:
                training.save(path)
                saved = now
                if now > end:
                    return False
    training.save(path)
    return True


def _lessons(job: HeadJob, folder: Path, end: float) -> tuple[Lessons, Lessons] | None:
    """Lessons to learn from and those held out, made where they are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    codec = Codec.load(job.model, device="cpu")
    if not isinstance(codec.engine, SicEngine | FourStageEngine):
        raise UsageError(f"{job.model}: only sic and deepsic-* take a head")
    manifest = Manifest.read(job.data)
    numbers = class_numbers(manifest, job.labels)
    teacher: Teacher | None = None
    parts: dict[bool, list[Lessons]] = {True: [], False: []}
    jobs = [
        (view, number, held)
        for view in range(job.views)
        for number in range(len(manifest.shards))
        for held in ((False, True) if view == 0 else (False,))
    ]
    with console.progress("lessons", len(jobs)) as progress:
        for view, number, held in jobs:
            path = folder / f"{'held' if held else 'train'}-{view}-{number:06d}.npz"
            if not path.exists():
                if time.monotonic() > end:
                    return None
                teacher = teacher or (Teacher(job.labels, job.teacher) if job.teacher else None)
                pairs = [
                    (row.pixels, numbers[row.label] if row.label >= 0 else -1)
                    for row in read_shard(job.data, manifest.shards[number])
                    if is_held_out(row.key, job.hold_out) == held
                ]
                if teacher is None and any(label < 0 for _, label in pairs):
                    raise InputError("a picture without a class teaches only with a teacher")
                if not pairs:
                    progress.advance()
                    continue
                lessons(
                    codec.engine, teacher, pairs, qualities=job.qualities,
                    augment=view > 0, seed=1_000_003 * view + number,
                ).save(path)  # fmt: skip
            parts[held].append(Lessons.load(path))
            progress.advance()
    if not parts[False]:
        raise InputError(f"{job.data} has no picture to learn from")
    train = Lessons.joined(parts[False])
    return train, Lessons.joined(parts[True]) if parts[True] else train
