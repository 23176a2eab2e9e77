"""Train the codec over Ray on what `preprocess.py` prepared, and export a model file.

    python pipelines/train.py                           # small net, runs/prepared
    python pipelines/train.py --data runs/prepared --size full --steps 200000 --workers 8
    python pipelines/train.py --gpu --workers 4 --batch 32 --storage s3://bucket/runs
    python pipelines/train.py --size full --init sic --steps 20000 --lr 2e-4
    python pipelines/train.py --preset deepsic-pre --crop 128 --steps 20000   # the first paper's
    python pipelines/train.py export runs/train/sic-1a2b3c4d model.safetensors
    python pipelines/train.py head sic --data runs/imagenette --out sic-with-head.safetensors

The same command goes on from the last checkpoint, wherever it stopped; the run's name holds a hash
of its settings and pictures, so a changed run starts anew. At the end the running average is
written to --export, with a model card beside it; `deepsic encode --model FILE` takes it.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from deepsic.errors import UsageError
from deepsic.models.semantic.head import HeadConfig
from deepsic.models.sic.net import SicConfig
from deepsic.training.config import TrainConfig
from deepsic.training.presets import AnyConfig, four_stage_config
from pipelines import console, tracking
from pipelines.exits import exit_codes
from pipelines.manifest import Manifest, find_version
from pipelines.runtime import RuntimeOptions
from pipelines.training.job import TrainJob

HELP = __doc__.replace("\n\n    python", "\n\n\b\n    python")
app = typer.Typer(add_completion=False, rich_markup_mode=None)
#: "small" is for trying things out: it codes, badly.
SIZES = {"small": SicConfig(width8=32, width16=48, depth=1, context=32), "full": SicConfig()}
HEADS = {
    "small": HeadConfig(width=32, blocks=((3, 2, 80), (3, 1, 80), (5, 1, 112)), hidden=128),
    "full": HeadConfig(),
}


@app.callback(invoke_without_command=True, help=HELP)
@exit_codes
def train(
    context: typer.Context,
    data: Annotated[str, typer.Option(help="What preprocess.py made.")] = "runs/prepared",
    preset: Annotated[str, typer.Option(help="sic, deepsic-pre or deepsic-post.")] = "sic",
    recipe: Annotated[str, typer.Option(help="Of deepsic-*: ours or paper.")] = "ours",
    size: Annotated[str, typer.Option(help="Of sic: small or full.")] = "small",
    steps: Annotated[int, typer.Option(help="Of the whole schedule.")] = 120,
    batch: Annotated[int, typer.Option(help="Crops a worker and step.")] = 4,
    crop: Annotated[int, typer.Option(help="Side, pixels; a multiple of 32.")] = 64,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 1e-3,
    warmup: Annotated[int, typer.Option(help="Of sic: steps.")] = 20,
    ema: Annotated[float, typer.Option(help="Of sic: running average.")] = 0.99,
    quantise_at: Annotated[float, typer.Option(help="Of sic: share before the grid.")] = 0.85,
    freeze_at: Annotated[float, typer.Option(help="Of sic: share before g_a stays.")] = 0.85,
    seed: Annotated[int, typer.Option(help="Of everything drawn.")] = 0,
    bf16: Annotated[bool, typer.Option(help="Of sic: bfloat16.")] = True,
    semantic: Annotated[float | None, typer.Option(help="Weight of L_sem; 0: no head.")] = None,
    labels: Annotated[str, typer.Option(help="Label set of the head.")] = "imagenette",
    teacher: Annotated[str, typer.Option(help="For pictures without class.")] = "",
    init: Annotated[str | None, typer.Option(help="Checkpoint or model to start from.")] = None,
    workers: Annotated[int, typer.Option(help="Processes, or GPUs.")] = 1,
    gpu: Annotated[bool, typer.Option(help="One GPU a worker (never tried here).")] = False,
    storage: Annotated[str, typer.Option(help="Checkpoints: folder or s3://...")] = "runs/train",
    epoch_steps: Annotated[int, typer.Option(help="Steps between validations.")] = 500,
    checkpoint_seconds: Annotated[float, typer.Option(help="Between checkpoints.")] = 300.0,
    memory_mb: Annotated[int, typer.Option(help="Pictures a worker holds.")] = 2000,
    max_failures: Annotated[int, typer.Option(help="Losses to survive.")] = 3,
    export_to: Annotated[
        str, typer.Option("--export", help="Model file; empty for none.")
    ] = "runs/model.safetensors",
    tracking_uri: Annotated[str | None, typer.Option(help="MLflow; off for none.")] = None,
) -> None:
    """Train."""
    if context.invoked_subcommand is not None:
        return
    if size not in SIZES:
        raise UsageError(f"size={size!r} is none of {', '.join(SIZES)}")
    config: AnyConfig
    if preset == "sic":
        config = TrainConfig(
            model=SIZES[size] if init is None else _sizes_of(init), steps=steps, batch=batch,
            crop=crop, learning_rate=lr, warmup=warmup, ema=ema, seed=seed, bf16=bf16,
            quantise_at=quantise_at, freeze_at=freeze_at, semantic=semantic or 0.0,
            head=HEADS[size], labels=labels, teacher=teacher,
        )  # fmt: skip
    else:
        # A recipe has its own batch, rate and averages: only what a run must choose is changed.
        config = four_stage_config(
            preset, recipe, steps=steps, batch=batch if recipe == "ours" else None, crop=crop,
            learning_rate=lr if recipe == "ours" else None, seed=seed, lambda2=semantic,
            labels=labels,
        )  # fmt: skip
    version = find_version(data)
    job = TrainJob(
        config=config,
        data=version if "://" in version else str(Path(version).resolve()),
        manifest_hash=Manifest.read(version).hash,
        storage=storage, workers=workers, gpu=gpu, init=_place(init), init_hash=_hash_of(init),
        epoch_steps=epoch_steps, checkpoint_seconds=checkpoint_seconds, memory_mb=memory_mb,
        max_failures=max_failures, tracking_uri=tracking_uri or tracking.default_uri(),
    )  # fmt: skip
    run(job, Path(export_to) if export_to else None)


def run(job: TrainJob, export_to: Path | None) -> Path | None:
    """Train and export; returns the model file."""
    from pipelines.training.export import export
    from pipelines.training.fit import fit
    from pipelines.training.loop import CHECKPOINT

    # One CPU for each worker, none for the rest.
    fitted = fit(job, runtime=RuntimeOptions(num_cpus=None if job.gpu else job.workers))
    console.table(job.name, ("", "last"), sorted(fitted.metrics.items()))
    if export_to is None or fitted.checkpoint is None:
        return None
    console.say("exporting")
    with fitted.checkpoint.as_directory() as folder:
        identity = export(
            Path(folder) / CHECKPOINT,
            export_to,
            data=job.data,
            metrics={k: v for k, v in fitted.metrics.items() if k.startswith("val/")},
        )
    console.say(f"model {identity.hex()}: {export_to}; card: {export_to.with_suffix('.md')}")
    return export_to


@app.command("export")
@exit_codes
def export_command(
    checkpoint: Annotated[Path, typer.Argument(help="state.pt, or a run's folder.")],
    out: Annotated[Path, typer.Argument(help="Model file.")],
    data: Annotated[str, typer.Option(help="What preprocess.py made.")] = "runs/prepared",
) -> None:
    """Write a checkpoint's running average as a model file with its card."""
    from pipelines.training.export import export, find_checkpoint

    identity = export(find_checkpoint(checkpoint), out, data=find_version(data))
    console.say(f"model {identity.hex()}: {out}; card: {out.with_suffix('.md')}")


@app.command("head")
@exit_codes
def head_command(
    model: Annotated[str, typer.Argument(help="A shipped model or a model file.")],
    data: Annotated[str, typer.Option(help="What preprocess.py made.")] = "runs/prepared",
    out: Annotated[Path, typer.Option(help="Model file.")] = Path("runs/head.safetensors"),
    labels: Annotated[str, typer.Option(help="Label set.")] = "imagenette",
    teacher: Annotated[str, typer.Option(help="Classifier, or none.")] = "efficientnet-lite0",
    start: Annotated[str | None, typer.Option(help="Model whose head is the start.")] = None,
    hint_steps: Annotated[int, typer.Option(help="On the teacher's layers.")] = 600,
    steps: Annotated[int, typer.Option(help="On the classes.")] = 900,
    batch: Annotated[int, typer.Option(help="Lessons a step.")] = 16,
    lr: Annotated[float, typer.Option(help="Of what starts at random.")] = 2e-3,
    views: Annotated[int, typer.Option(help="Lessons of each picture.")] = 2,
    low: Annotated[int, typer.Option(help="Lowest quality that is read.")] = 8,
    high: Annotated[int, typer.Option(help="Highest.")] = 30,
    folder: Annotated[Path, typer.Option(help="Lessons, checkpoints.")] = Path("runs/head"),
    seconds: Annotated[float, typer.Option(help="Stop then; go on later.")] = float("inf"),
    seed: Annotated[int, typer.Option(help="Of everything drawn.")] = 0,
    tracking_uri: Annotated[str | None, typer.Option(help="MLflow; off for none.")] = None,
) -> None:
    """Train the semantic head of a model file; the codec in it stays the same.

    A lesson takes 220 KB of memory. The same command goes on where it stopped.
    """
    from deepsic.training.head import HeadTrainingConfig
    from pipelines.training.head import HeadJob, train_head

    job = HeadJob(
        model=_path_of(model), data=find_version(data), out=out, labels=labels,
        teacher=None if teacher == "none" else teacher,
        start=None if start is None else _path_of(start), views=views,
        qualities=(low, high), folder=folder, seconds=seconds,
        tracking_uri=tracking_uri or tracking.default_uri(),
        config=HeadTrainingConfig(
            hint_steps=hint_steps, steps=steps, batch=batch, learning_rate=lr, seed=seed
        ),
    )  # fmt: skip
    found = train_head(job)
    if found is not None:
        console.table(str(out), ("", "held out"), sorted(found.items()))


def _sizes_of(init: str) -> SicConfig:
    from deepsic.training.start import load_start

    return load_start(init).config


def _path_of(init: str) -> Path:
    from deepsic.weights import resolve

    return Path(init) if init.endswith(".pt") else resolve(init)


def _place(init: str | None) -> str | None:
    return None if init is None else str(_path_of(init).resolve())


def _hash_of(init: str | None) -> str:
    return "" if init is None else hashlib.sha256(_path_of(init).read_bytes()).hexdigest()[:16]


if __name__ == "__main__":
    app()
