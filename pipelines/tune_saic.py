"""Search SAIC's rate, weight and temperature: Ray Tune over the trainer, from one trained model.

    python pipelines/tune_saic.py                                    # small, embedded photographs
    python pipelines/tune_saic.py --data runs/prepared --space saic --trials 30 --steps 2000
    python pipelines/tune_saic.py --data s3://bucket/prepared --space tau_sweep --search grid
    python pipelines/tune_saic.py --data runs/prepared --device cuda --concurrent 4
    python pipelines/tune_saic.py --data s3://bucket/prepared --storage s3://bucket/tune

Every trial trains the same start on with its own bpp, lambda and tau. It is worth the share of
held-out images that a classifier sees as it sees the originals, beyond what the start gets at that
rate. Among trials of equal rate the worse half is stopped at every rung (ASHA), except on a grid,
whose points all train alike; Optuna chooses what to try next. Safe to kill: the same command
resumes. MLflow gets a run for the search and one for each trial below it.

OUT/tune-saic-<hash> gets trials.json, pareto.png, tau.png, job.json, and the best model of each
rate, best-<bpp>.safetensors.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from deepsic.errors import counted
from pipelines.stage import console
from pipelines.stage.exits import exit_codes, fail_if
from pipelines.tuning import options
from pipelines.tuning.job import TuneJob
from pipelines.tuning.space import Space, load_space

__all__ = ["main"]

EXPERIMENT = "tune-saic"
app = options.new_app(__doc__)


@app.command(help=app.info.help)
@exit_codes
def main(
    data: options.Data = None,
    out: options.Out = Path("runs/tune"),
    start: options.Start = "sic",
    space: options.Space = None,
    trials: options.Trials = None,
    steps: options.Steps = None,
    rungs: options.Rungs = None,
    side: options.Side = 224,
    batch: options.Batch = None,
    learning_rate: options.LearningRate = 0.0001,
    pixel: options.Pixel = 0.1,
    layer: options.Layer = None,
    classifier: options.Classifier = "efficientnet-lite0",
    search: options.Search = "optuna",
    concurrent: options.Concurrent = 1,
    workers: options.Workers = 1,
    device: options.Device = "cpu",
    validation_images: options.ValidationImages = 200,
    seed: options.Seed = 0,
    storage: options.Storage = None,
    tracking_uri: options.TrackingUri = None,
    verbose: options.Verbose = False,
) -> None:
    from pipelines.models import pinned
    from pipelines.stage.preflight import cluster_device
    from pipelines.training.sources import EMBEDDED, find_places, identity_of, start_identity

    places, start = find_places(data), pinned(start)
    small = places == (EMBEDDED,)
    found = load_space(space or ("small" if small else "saic"))
    job = TuneJob(
        start=start, start_hash=start_identity((start,)), data=places,
        data_hash=identity_of(places), space=found.name, space_hash=found.identity,
        trials=trials or (4 if small else 12), steps=steps or (8 if small else 400),
        rungs=rungs or (2 if small else 4), side=side, batch=batch or (2 if small else 8),
        learning_rate=learning_rate, classifier=classifier, layer=layer, pixel=pixel, search=search,
        seed=seed, validation_images=validation_images, workers=workers,
        device=cluster_device(device),
    )  # fmt: skip
    job.check(found)
    _run(job, found, out.resolve(), storage, tracking_uri, concurrent, verbose)


def _run(
    job: TuneJob, space: Space, out: Path, storage: str | None, uri: str | None,
    concurrent: int, verbose: bool,
) -> None:  # fmt: skip
    """Search, then write and show what was found."""
    from pipelines.stage.preflight import check_resources
    from pipelines.stage.runtime import RuntimeOptions, ray_runtime
    from pipelines.stage.tracking import close_stale, tracked

    # Ray's newer reporter prints a box to stdout, which is for results.
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    # Trials are short: their states are kept often, and Ray need not warn of it.
    os.environ.setdefault("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")
    folder = out / job.name
    folder.mkdir(parents=True, exist_ok=True)
    total = job.runs(space)
    console.say(f"{job.name}: {counted(total, 'trial')} of {counted(job.steps, 'step')}")
    close_stale(EXPERIMENT, uri=uri, name_prefix=job.name)
    with (
        tracked(EXPERIMENT, run_name=job.name, uri=uri, params=job.to_dict(), resume=True) as run,
        ray_runtime(RuntimeOptions(verbose=verbose)) as where,
    ):
        console.say(where)
        check_resources(cpus=1, gpus=float(job.device == "cuda"), workers=job.workers)
        run.dataset(", ".join(job.data), job.data_hash, {})
        with console.progress("tune", total) as counter:
            results, filesystem = _search(job, space, out, storage, concurrent, run, counter)
        found = _write(job, results, folder, filesystem, run)
        console.say(f"MLflow: {run.uri}")
    print(folder)
    of = f"{total - found} of {counted(total, 'trial')}"
    fail_if(total - found, f"{of} failed: {_said(results)}; the same command retries")


def _search(
    job: TuneJob, space: Space, out: Path, storage: str | None, concurrent: int, run: Any,
    counter: console.Counter,
) -> tuple[Any, Any]:  # fmt: skip
    """Ray's results, and pyarrow's filesystem that checkpoints are on (None: this machine's)."""
    from pipelines.tuning.search import run_search
    from pipelines.tuning.start import StartFile

    place, filesystem = _place(storage, out)
    file = StartFile.of(job.start)
    starts = _starts(job, space, file, out / job.name / "start.json")
    results = run_search(
        job, space, file, starts, folder=place, filesystem=filesystem, concurrent=concurrent,
        run=run, counter=counter,
    )  # fmt: skip
    return results, filesystem


def _place(storage: str | None, out: Path) -> tuple[str, Any]:
    """Path and filesystem of what trials write, as Ray wants them."""
    from pipelines.storage import open_storage

    if storage is None or not storage.startswith("s3://"):
        return str(Path(storage).resolve() if storage else out), None
    opened = open_storage(storage)
    opened.check()
    filesystem, path = opened.arrow()
    return path, filesystem


def _starts(job: TuneJob, space: Space, file: Any, kept: Path) -> Any:
    """The start at each rate: measured where trials run, once a search."""
    import ray

    from pipelines.tuning.search import trial_resources
    from pipelines.tuning.start import measure_start, read_start, write_start

    if kept.is_file():
        return read_start(kept)
    gpus = trial_resources(job).get("GPU", 0)
    task = ray.remote(num_cpus=1, num_gpus=gpus)(measure_start)
    starts = ray.get(task.remote(job, file, space.rates))
    write_start(starts, kept)
    return starts


def _write(job: TuneJob, results: Any, folder: Path, filesystem: Any, run: Any) -> int:
    """Tables, figures and best models into the job's folder; the number of trials that came
    to something.

    Raises:
        DeepsicError: none did.
    """
    from deepsic import atomic
    from deepsic.errors import DeepsicError
    from pipelines.tuning.export import export_best
    from pipelines.tuning.outcome import (
        best_of,
        collect,
        draw_pareto,
        draw_tau,
        show,
        write_json,
    )
    from pipelines.tuning.start import images_of

    found = collect(results)
    if not found:
        raise DeepsicError(f"no trial reported anything: {_said(results)}")
    paths = [folder / name for name in ("trials.json", "pareto.png", "tau.png", "job.json")]
    write_json(found, paths[0])
    draw_pareto(found, paths[1])
    draw_tau(found, paths[2])
    atomic.write(paths[3], (json.dumps(job.to_dict(), indent=1, sort_keys=True) + "\n").encode())
    show(found)
    paths += export_best(best_of(found), images_of(job), folder, filesystem)
    for path in paths:
        run.artifact(path)
    for trial in best_of(found):
        run.metrics({f"best_gain_{trial.bpp:g}": trial.gain})
    return len(found)


def _said(results: Any) -> str:
    """The last line of each kind of error."""
    lines = [str(error).strip().splitlines()[-1] for error in results.errors]
    return "; ".join(dict.fromkeys(lines)) or "see Ray's log"


if __name__ == "__main__":
    app()
