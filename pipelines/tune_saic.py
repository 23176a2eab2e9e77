"""Search SAIC's rate, weight and temperature: Ray Tune over Ray Train, from one trained model.

    python pipelines/tune_saic.py                                    # small, on built-in pictures
    python pipelines/tune_saic.py imagenette out/tune --space saic --trials 30 --steps 2000
    python pipelines/tune_saic.py imagenette out/fig4 --space tau_sweep --search grid
    python pipelines/tune_saic.py imagenette out/tune --storage s3://bucket/tune    # on a cluster

Every trial fine-tunes the same start with its own bpp, lambda and tau, and is judged by the share
of pictures that a classifier sees as it saw the originals, beyond what the start gets at that
rate. ASHA stops the worse half at every rung; Optuna chooses what to try next. Kill it and run the
same command again: it goes on. MLflow gets every trial.

DST gets trials.json, pareto.png, tau.png and the best model.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from deepsic.errors import EXIT_INTERRUPTED, DeepsicError, InputError
from pipelines import console
from pipelines.runtime import RuntimeOptions, ray_runtime
from pipelines.storage import open_storage
from pipelines.tracking import check_store, close_stale, tracked
from pipelines.tuning.job import TuneJob, load_space
from pipelines.tuning.pictures import PictureSet, embedded, from_folder

__all__ = ["main"]

EXPERIMENT = "tune-saic"
# "\b" keeps a paragraph's lines as they are.
HELP = (__doc__ or "").replace("\n\n    python", "\n\n\b\n    python")
app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(help=HELP)
def main(
    source: Annotated[
        Path | None,
        typer.Argument(metavar="[SRC]", help="Folder of pictures, or of train/ and val/"),
    ] = None,
    destination: Annotated[
        Path, typer.Argument(metavar="[DST]", help="Folder for what the search finds")
    ] = Path("runs/tune"),
    start: Annotated[
        str, typer.Option(help="Model by name, model file or checkpoint, or s3://...")
    ] = "sic",
    space: Annotated[
        str | None, typer.Option(help="Name in tune_spaces/, or a Python file [small or saic]")
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Trials [4, or 12 with SRC]")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps a trial [8, or 400]")] = None,
    rungs: Annotated[int | None, typer.Option(min=1, help="Judgements a trial [2, or 4]")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Pictures a step [2, or 8]")] = None,
    lr: Annotated[float, typer.Option(help="Learning rate")] = 1e-4,
    pixel: Annotated[float, typer.Option(help="Weight of the pixels' error")] = 0.1,
    classifier: Annotated[str, typer.Option(help="Downstream network")] = "efficientnet-lite0",
    layer: Annotated[str | None, typer.Option(help="Its layer whose maps are compared")] = None,
    search: Annotated[str, typer.Option(help="optuna, random or grid")] = "optuna",
    concurrent: Annotated[int, typer.Option(min=1, help="Trials at a time")] = 1,
    workers: Annotated[int, typer.Option(min=0, help="Ray Train workers of a trial; 0: none")] = 1,
    limit_train: Annotated[int, typer.Option(min=1, help="Pictures to train on")] = 1000,
    limit_val: Annotated[int, typer.Option(min=1, help="Pictures to judge on")] = 200,
    exclude: Annotated[
        list[str] | None, typer.Option(help="File names to leave out, such as ILSVRC2012_val_*")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of pictures, qualities and search")] = 0,
    storage: Annotated[
        str | None,
        typer.Option(help="Trials and checkpoints, for all nodes: s3://...; default DST"),
    ] = None,
    tracking_uri: Annotated[str | None, typer.Option(help="MLflow store, or off")] = None,
    verbose: Annotated[bool, typer.Option(help="Show Ray's own log")] = False,
) -> None:
    small = source is None
    try:
        from pipelines.tuning.start import load_start

        uri = check_store(tracking_uri)
        pictures = _pictures(source, limit_train, limit_val, exclude or ())
        net, identity = load_start(start)
        job = TuneJob(
            start=identity,
            pictures=pictures.identity,
            space=space or ("small" if small else "saic"),
            trials=trials or (4 if small else 12),
            steps=steps or (8 if small else 400),
            rungs=rungs or (2 if small else 4),
            batch=batch or (2 if small else 8),
            learning_rate=lr,
            pixel=pixel,
            classifier=classifier,
            layer=layer,
            search=search,
            seed=seed,
            workers=workers,
        )
        _run(job, net, pictures, destination, storage, uri, concurrent, verbose)
    except DeepsicError as error:
        console.error(str(error))
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        console.error("interrupted; the same command goes on")
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _pictures(source: Path | None, limit_train: int, limit_val: int, exclude: Any) -> PictureSet:
    if source is None:
        return embedded()
    return from_folder(source, limit_train=limit_train, limit_val=limit_val, exclude=exclude)


def _run(
    job: TuneJob,
    net: Any,
    pictures: PictureSet,
    destination: Path,
    storage: str | None,
    uri: str,
    concurrent: int,
    verbose: bool,
) -> None:
    """Search, then write and show what was found."""
    folder = destination.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    distributions = load_space(job.space)
    console.say(
        f"{job.name}: {len(pictures.train)} pictures to train on, {len(pictures.val)} to judge; "
        f"{job.trials} trials of {job.steps} steps"
    )
    stale = close_stale(EXPERIMENT, uri=uri, name_prefix=job.name)
    if stale:
        console.say(f"closed {stale} MLflow runs that an interrupted search left open")
    with (
        tracked(EXPERIMENT, run_name=job.name, uri=uri, params=asdict(job)) as run,
        ray_runtime(RuntimeOptions(verbose=verbose)) as where,
        console.progress("tune", job.trials) as counter,
    ):
        console.say(where)
        place, filesystem = _place(storage, folder)
        found = _search(
            job, net, pictures, distributions, place, filesystem, concurrent, uri, counter
        )
        files = _write(job, net, pictures, found, folder, filesystem)
        for path in files:
            run.artifact(path)
        run.metrics({"best_gain": found[0].gain, "best_agreement": found[0].agreement})
    console.say(f"MLflow: {uri}")
    print(folder / job.name)


def _place(storage: str | None, folder: Path) -> tuple[str, Any]:
    """Path and filesystem of what trials write, as Ray wants them."""
    if storage is None or not storage.startswith("s3://"):
        return str(Path(storage).resolve() if storage else folder), None
    opened = open_storage(storage)
    opened.check()
    filesystem, path = opened.arrow()
    return path, filesystem


def _search(
    job: TuneJob,
    net: Any,
    pictures: PictureSet,
    distributions: dict[str, Any],
    place: str,
    filesystem: Any,
    concurrent: int,
    uri: str,
    counter: console.Counter,
) -> list[Any]:
    # Ray's newer reporter prints a box to stdout, which is for results.
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    import ray

    from pipelines.tuning.outcome import collect
    from pipelines.tuning.search import run_search
    from pipelines.tuning.trial import Bundle, save_net

    bundle = ray.put(Bundle(job, save_net(net), pictures))
    results = run_search(
        job,
        bundle,
        distributions,
        folder=place,
        filesystem=filesystem,
        concurrent=concurrent,
        tracking_uri=uri,
        experiment=EXPERIMENT,
        counter=counter,
    )
    found = collect(results)
    if not found:
        errors = [str(error).strip().splitlines()[-1] for error in results.errors]
        raise InputError(f"no trial reported anything: {'; '.join(errors[:3]) or 'see the log'}")
    return found


def _write(
    job: TuneJob,
    net: Any,
    pictures: PictureSet,
    found: list[Any],
    folder: Path,
    filesystem: Any,
) -> list[Path]:
    """Table, pictures and best model into the job's folder; the files written."""
    from pipelines.tuning.outcome import draw_pareto, draw_tau, show, write_json
    from pipelines.tuning.start import export_best

    out = folder / job.name
    out.mkdir(parents=True, exist_ok=True)  # trials may be elsewhere
    paths = [out / name for name in ("trials.json", "pareto.png", "tau.png", "job.json")]
    write_json(found, paths[0])
    draw_pareto(found, paths[1])
    draw_tau(found, paths[2])
    paths[3].write_text(json.dumps(asdict(job), indent=1, sort_keys=True) + "\n", "utf-8")
    show(found)
    best = export_best(job, net, found, pictures, out, filesystem)
    return [*paths, best] if best is not None else paths


if __name__ == "__main__":
    app()
