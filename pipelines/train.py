"""Train a recipe over Ray, or on this machine alone, and export a model file.

    python pipelines/train.py                 # recipe small on embedded photographs, two minutes
    python pipelines/train.py sic --data runs/prepared --workers 8
    python pipelines/train.py sic --data runs/prepared --stages.0.steps 1000 --optimiser.ema 0.99
    python pipelines/train.py deepsic-pre --data s3://bucket/imagenet --device cuda
    python pipelines/train.py saic-saic --data runs/prepared --start runs/tdic.safetensors
    python pipelines/train.py sic --data crops.pack --local --device cuda --seconds 500
    python pipelines/train.py sic --print-config
    python pipelines/train.py export runs/train/sic-1a2b3c4d model.safetensors
    python pipelines/train.py pack crops.pack --data runs/prepared
    python pipelines/train.py restart runs/local/sic-1a2b3c4d restart.pt

Every field of a recipe is an option; --print-config lists them with their values. The same command
resumes from the last checkpoint, wherever it stopped; the run's name holds a hash of its recipe and
images, so a changed run starts anew. At the end the running average is written to --export, with
a model card beside it; `deepsic encode --model FILE` takes it.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from deepsic.errors import UsageError
from deepsic.recipes import RECIPES, recipe
from deepsic.training.recipe import Recipe
from deepsic.training.run import CHECKPOINT, Pace
from pipelines.models import pinned
from pipelines.stage import console
from pipelines.stage.exits import exit_codes
from pipelines.training.job import TrainJob
from pipelines.training.sources import (
    DATA_FILE,
    Images,
    find_places,
    identity_of,
    open_images,
    start_identity,
)

HELP = __doc__.replace("\n\n    python", "\n\n\b\n    python")
app = typer.Typer(add_completion=False, rich_markup_mode=None)
OVERRIDES = {"allow_extra_args": True, "ignore_unknown_options": True}


@app.callback(invoke_without_command=True, help=HELP)
def default(context: typer.Context) -> None:
    """Without a recipe: small."""
    if context.invoked_subcommand is None:
        raise typer.Exit(app(["small"], standalone_mode=False) or 0)


def train(
    context: typer.Context,
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="What preprocess.py or pack made, local or s3://; repeat: joined. Default: "
            "runs/prepared, or the embedded photographs if nothing is prepared there."
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes, one GPU each on cuda.")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    local: Annotated[
        bool, typer.Option(help="One process of this machine, without Ray and MLflow.")
    ] = False,
    storage: Annotated[
        str, typer.Option(help="Checkpoints: a folder or s3://...; with --local a folder.")
    ] = "runs/train",
    export_to: Annotated[
        str, typer.Option("--export", help="Model file to write at the end, or none.")
    ] = "runs/model.safetensors",
    restart: Annotated[
        Path | None, typer.Option(help="With --local: restart file to go on from.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(help="With --local: stop then, with a checkpoint; 0: at the end.")
    ] = 0.0,
    epoch_steps: Annotated[int, typer.Option(min=1, help="Steps between validations.")] = 500,
    checkpoint_seconds: Annotated[
        float, typer.Option(help="Longest time between checkpoints, seconds.")
    ] = 300.0,
    validation_images: Annotated[int, typer.Option(min=1, help="Coded at each validation.")] = 8,
    loaders: Annotated[int, typer.Option(min=1, help="Threads of a worker that cut crops.")] = 1,
    compiled: Annotated[bool, typer.Option(help="Steps through torch.compile.")] = False,
    max_failures: Annotated[int, typer.Option(min=0, help="Worker failures tolerated.")] = 3,
    tracking_uri: Annotated[str | None, typer.Option(help="MLflow store, or none.")] = None,
    print_config: Annotated[bool, typer.Option(help="Print the recipe's fields and end.")] = False,
) -> None:
    """Train this recipe. Its own fields are options as well: see --print-config."""
    from pipelines.training.overrides import described, overridden

    made = overridden(recipe(str(context.info_name)), context.args)
    made = replace(made, start=tuple(pinned(place) for place in made.start))
    if print_config:
        print(described(made))
        return
    places = find_places(data)
    pace = Pace(
        epoch_steps=epoch_steps, checkpoint_seconds=checkpoint_seconds,
        validation_images=validation_images, seconds=seconds or float("inf"),
    )  # fmt: skip
    if not local and (restart or seconds):
        raise UsageError("--restart and --seconds go with --local")
    images = open_images(
        places,
        labels=made.labels,
        hold_out=made.hold_out,
        count=validation_images,
        by_area=made.by_area,
    )
    made = _with_labels(made, images)
    from pipelines.stage import tracking

    job = TrainJob(
        recipe=made, data=places, data_hash=identity_of(places),
        start_hash=start_identity(made.start),
        storage=storage, workers=workers, device=device, compiled=compiled, loaders=loaders,
        pace=pace, max_failures=max_failures,
        tracking_uri=_tracking(tracking_uri, tracking.default_uri, tracking.OFF),
    )  # fmt: skip
    target = None if export_to in ("", "none") else Path(export_to)
    if local:
        _train_here(job, images, target, restart)
    else:
        _train_on_ray(job, images, target)


for _name in RECIPES:
    app.command(_name, context_settings=OVERRIDES, help=f"Train recipe {_name}.")(exit_codes(train))


def _train_on_ray(job: TrainJob, images: Images, target: Path | None) -> None:
    from pipelines.stage import tracking
    from pipelines.stage.runtime import RuntimeOptions
    from pipelines.training.export import export
    from pipelines.training.fit import fit

    # One CPU for each worker, none for the rest.
    fitted = fit(job, runtime=RuntimeOptions(num_cpus=job.workers if job.device == "cpu" else None))
    console.table(job.name, ("", "last"), sorted(fitted.metrics.items()))
    if target is None or fitted.checkpoint is None:
        return
    console.say("exporting")
    metrics = {k: v for k, v in fitted.metrics.items() if k.startswith("val/")}
    with fitted.checkpoint.as_directory() as folder:
        identity = export(Path(folder) / CHECKPOINT, target, images=images, metrics=metrics)
    with tracking.tracked("train", run_name=job.name, uri=job.tracking_uri, resume=True) as mlflow:
        mlflow.artifact(target)
        mlflow.artifact(target.with_suffix(".md"))
    console.say(f"model {identity.hex()}: {target}; card: {target.with_suffix('.md')}")


def _train_here(job: TrainJob, images: Images, target: Path | None, restart: Path | None) -> None:
    from pipelines.training.here import train_here

    folder = Path(job.storage) / job.name
    finished, metrics = train_here(job, images, folder, restart)
    if not finished:
        console.say(f"stopped; the same command resumes from {folder / CHECKPOINT}")
        return
    if target is not None:
        from pipelines.training.export import export

        identity = export(folder / CHECKPOINT, target, images=images, metrics=metrics)
        console.say(f"model {identity.hex()}: {target}; card: {target.with_suffix('.md')}")


@app.command("export")
@exit_codes
def export_command(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint, or a run's folder.")],
    out: Annotated[Path, typer.Argument(help="Model file.")],
    data: Annotated[list[str] | None, typer.Option(help="As in training.")] = None,
    best: Annotated[bool, typer.Option(help="The best validation's, not the last.")] = False,
) -> None:
    """Write a checkpoint's running average as a model file with its card."""
    from deepsic.training.checkpoint import read_checkpoint
    from pipelines.training.export import export, find_checkpoint

    found = find_checkpoint(checkpoint, best=best)
    made = Recipe.from_json(read_checkpoint(found)["recipe"])
    images = open_images(find_places(data), labels=made.labels, hold_out=made.hold_out, count=12)
    identity = export(found, out, images=images)
    console.say(f"model {identity.hex()}: {out}; card: {out.with_suffix('.md')}")


@app.command("pack")
@exit_codes
def pack_command(
    out: Annotated[Path, typer.Argument(help=f"Data file to write, *{DATA_FILE}.")],
    data: Annotated[list[str] | None, typer.Option(help="What preprocess.py made.")] = None,
    labels: Annotated[str, typer.Option(help="Label set, data, or none.")] = "none",
    max_mb: Annotated[float, typer.Option(help="Size of the file, MiB.")] = 36.0,
    side: Annotated[int, typer.Option(help="Longest side of a crop, pixels.")] = 384,
    quality: Annotated[int, typer.Option(help="AVIF's, 1-100; 0: lossless WebP.")] = 90,
    seed: Annotated[int, typer.Option(help="Which crops, where not all have room.")] = 0,
) -> None:
    """Make one data file of crops and a held-out part, for a machine with nothing but torch."""
    from deepsic.training.data.packed import PackConfig, write_packed

    if out.suffix != DATA_FILE:
        raise UsageError(f"{out}: a data file's name ends in {DATA_FILE}")
    images = open_images(
        find_places(data), labels="" if labels == "none" else labels, hold_out=16, count=64
    )
    config = PackConfig(
        max_bytes=int(max_mb * 2**20), side=side, quality=quality or None, seed=seed
    )
    found = write_packed(
        out, images.training, images.held_out, config, labels=images.labels or None,
        about=images.about,
    )  # fmt: skip
    console.table(str(out), ("", "value"), sorted(found.items()))


@app.command("restart")
@exit_codes
def restart_command(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint, or a run's folder.")],
    out: Annotated[Path, typer.Argument(help="Restart file to write.")],
) -> None:
    """Write a restart file: net and average in bfloat16, about 10 MB, without moments."""
    from deepsic.training.checkpoint import read_checkpoint, restart_of, write_checkpoint
    from pipelines.training.export import find_checkpoint

    write_checkpoint(out, restart_of(read_checkpoint(find_checkpoint(checkpoint))))
    console.say(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


def _with_labels(made: Recipe[Any, Any], images: Images) -> Recipe[Any, Any]:
    from deepsic.labels import classes_of

    if not made.labels:
        return made
    return made.with_classes(images.labels, len(classes_of(images.labels)))


def _tracking(uri: str | None, default: Any, off: str) -> str:
    return str(default()) if uri is None else off if uri in ("none", off) else uri


if __name__ == "__main__":
    app()
