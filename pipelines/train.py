"""Train a recipe over Ray, or on this machine alone, and export a model file.

    python pipelines/train.py                 # recipe small on embedded photographs, two minutes
    python pipelines/train.py sic --data runs/prepared --workers 8
    python pipelines/train.py sic --data runs/prepared --stages.0.steps 1000 --optimiser.ema 0.99
    python pipelines/train.py deepsic-pre --data s3://bucket/imagenet --device cuda
    python pipelines/train.py saic-saic --data runs/prepared --start runs/tdic.safetensors
    python pipelines/train.py sic --data crops.pack --local --device cuda --run-seconds 500
    python pipelines/train.py sic --print-config
    python pipelines/train.py export runs/train/sic-1a2b3c4d model.safetensors
    python pipelines/train.py export runs/train/head-1a2b3c4d mine.safetensors --onto sic-machine
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
from deepsic.models.device import device_named
from deepsic.recipes import RECIPES, recipe
from deepsic.training.recipe import Recipe
from deepsic.training.run import CHECKPOINT, Pace
from pipelines.models import pinned
from pipelines.stage import console, options
from pipelines.stage.exits import exit_codes
from pipelines.stage.preflight import cluster_device
from pipelines.training.job import TrainJob
from pipelines.training.sources import (
    DATA_FILE,
    Images,
    find_places,
    identity_of,
    open_images,
    recipe_images,
    start_identity,
)

app = options.new_app(__doc__)
OVERRIDES = {"allow_extra_args": True, "ignore_unknown_options": True}


@app.callback(invoke_without_command=True, help=app.info.help)
def default(context: typer.Context) -> None:
    """Without a recipe: small."""
    if context.invoked_subcommand is None:
        raise typer.Exit(app(["small"], standalone_mode=False) or 0)


def train(
    context: typer.Context,
    data: options.Data = None,
    workers: options.TrainWorkers = 1,
    device: options.Device = "cpu",
    local: options.Local = False,
    storage: Annotated[
        str, typer.Option(metavar="DST", help="Checkpoints: a folder; without --local also s3://..")
    ] = "runs/train",
    export_to: Annotated[
        str, typer.Option("--export", metavar="FILE|none", help="Model file to write at the end.")
    ] = "runs/model.safetensors",
    restart: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --local: restart file to start from."),
    ] = None,
    run_seconds: options.RunSeconds = None,
    run_steps: options.RunSteps = None,
    epoch_steps: Annotated[
        int, typer.Option(min=1, metavar="N", help="Steps between validations.")
    ] = 500,
    checkpoint_seconds: options.CheckpointSeconds = 300.0,
    validation_images: options.ValidationImages = 8,
    loaders: Annotated[
        int, typer.Option(min=1, metavar="N", help="Threads of a worker that cut crops.")
    ] = 1,
    compiled: Annotated[
        bool, typer.Option("--compiled", help="On a GPU: steps through torch.compile.")
    ] = False,
    max_restarts: options.MaxRestarts = 3,
    tracking_uri: options.TrackingUri = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the recipe's fields and end.")
    ] = False,
    verbose: options.Verbose = False,
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
        validation_images=validation_images, seconds=run_seconds or float("inf"),
        steps=run_steps,
    )  # fmt: skip
    if not local and (restart or run_seconds or run_steps):
        raise UsageError(
            "--restart, --run-seconds and --run-steps go with --local; add it, or leave them out"
        )
    images = recipe_images(places, made, validation_images)
    made = _with_labels(made, images)
    from pipelines.stage import tracking

    job = TrainJob(
        recipe=made, data=places, data_hash=identity_of(places),
        start_hash=start_identity(made.start),
        device=device_named(device) if local else cluster_device(device),
        storage=storage, workers=workers,
        compiled=compiled, loaders=loaders, pace=pace, max_restarts=max_restarts,
        tracking_uri=tracking.chosen_uri(tracking_uri),
    )  # fmt: skip
    wanted = options.or_none(export_to)
    target = None if wanted is None else Path(wanted)
    if local:
        _train_here(job, images, target, restart)
    else:
        _train_on_ray(job, images, target, verbose=verbose)


for _name in RECIPES:
    app.command(
        _name, context_settings=OVERRIDES,
        help=f"Train recipe {_name}. Its fields are options as well: --print-config lists them.",
    )(exit_codes(train))  # fmt: skip


def _train_on_ray(job: TrainJob, images: Images, target: Path | None, *, verbose: bool) -> None:
    from pipelines.stage import tracking
    from pipelines.stage.runtime import RuntimeOptions
    from pipelines.training.export import export
    from pipelines.training.fit import fit

    # One CPU for each worker, none for the rest.
    cpus = job.workers if job.device == "cpu" else None
    fitted = fit(job, runtime=RuntimeOptions(num_cpus=cpus, verbose=verbose))
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
    data: options.Data = None,
    best: Annotated[
        bool, typer.Option("--best", help="The best validation's, not the last.")
    ] = False,
    onto: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Of a head: whose codec it joins, if not its start's."),
    ] = None,
) -> None:
    """Write a checkpoint's running average as a model file with its card."""
    from deepsic.training.checkpoint import read_checkpoint
    from pipelines.training.export import export, find_checkpoint

    found = find_checkpoint(checkpoint, best=best)
    made = Recipe.from_json(read_checkpoint(found)["recipe"])
    images = recipe_images(find_places(data), made, 12)
    identity = export(found, out, images=images, onto=onto)
    console.say(f"model {identity.hex()}: {out}; card: {out.with_suffix('.md')}")


@app.command("pack")
@exit_codes
def pack_command(
    out: Annotated[Path, typer.Argument(help=f"Data file to write, *{DATA_FILE}.")],
    data: options.Data = None,
    labels: Annotated[
        str, typer.Option(metavar="SET|data|none", help="Label set; data: the data's own classes.")
    ] = "none",
    max_bytes: Annotated[
        int, typer.Option(parser=options.size, metavar="SIZE", help="Largest size of the file.")
    ] = options.PACK_BYTES,
    side: Annotated[
        int, typer.Option(min=1, metavar="PX", help="Longest side of a crop, pixels.")
    ] = 384,
    quality: Annotated[
        int | None,
        typer.Option(
            parser=options.none_or(options.quality),
            metavar="1..100|none",
            help="AVIF's quality; none: lossless WebP.",
        ),
    ] = 90,
    seed: Annotated[
        int, typer.Option(min=0, metavar="N", help="Which crops, where not all have room.")
    ] = 0,
) -> None:
    """Make one data file of crops and a held-out part, for a machine with nothing but torch."""
    from deepsic.training.data.packed import PackConfig, write_packed

    if out.suffix != DATA_FILE:
        raise UsageError(f"{out}: a data file's name ends in {DATA_FILE}")
    images = open_images(
        find_places(data), labels=options.or_none(labels) or "", hold_out=16, count=64
    )
    config = PackConfig(max_bytes=max_bytes, side=side, quality=quality, seed=seed)
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


if __name__ == "__main__":
    app()
