"""Measure codecs on your own images: rate, distortion, what networks still see, beside baselines.

    python pipelines/evaluate.py                                   # four photographs, all codecs
    python pipelines/evaluate.py photos/ --codec sic --codec avif --codec jpeg
    python pipelines/evaluate.py s3://bucket/photos --limit 200 --workers 16 --out runs/photos
    python pipelines/evaluate.py imagenet/val --include 'ILSVRC2012_val_*' --no-ladder
                --classifier efficientnet-lite0 --classifier squeezenet
    python pipelines/evaluate.py coco/ --detector fastestdet=fastestdet.pth --bpp 0.25

Every file is written whole and decoded again. OUT gets results.jsonl (a line a file, after one on
the run) and report.html; the same goes to MLflow. Rerun, it resumes; a new --codec is added to what
is there. Images that can't be read, or that one codec refuses, are named, counted and left out for
all codecs alike. If some can't be read, the exit code is 1.
"""

from __future__ import annotations

import contextlib
import random
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from deepsic.errors import InputError, StorageError, UsageError, counted
from deepsic.evaluation.baselines import MeasuredCodec, find_codecs
from deepsic.evaluation.measure import Measurement, MeasurementPlan
from deepsic.evaluation.provenance import provenance
from deepsic.evaluation.summary import summarise
from pipelines.evaluation.models import local_codecs
from pipelines.evaluation.outputs import build_report, numbers, show_tables, write_report
from pipelines.evaluation.record import Record
from pipelines.evaluation.settings import Settings, default_codecs, make_evaluators
from pipelines.evaluation.sources import ImageRef, annotated_classes, find_images
from pipelines.stage import console, options, tracking
from pipelines.stage.exits import exit_codes, fail_if
from pipelines.stage.runtime import RuntimeOptions, cluster_cpus, ray_runtime

if TYPE_CHECKING:
    from deepsic.evaluation.evaluators import Evaluator
    from pipelines.evaluation.measurer import Work

app = options.new_app(__doc__)


@app.command(help=app.info.help)
@exit_codes
def evaluate(
    source: Annotated[
        str | None, typer.Argument(metavar="SRC", help="Folder or s3://...; none: embedded.")
    ] = None,
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="DST", help="Folder for the results.")
    ] = "runs/evaluate",
    codec: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A baseline, a shipped model, sic:FILE, sic:s3://..., MODEL@NETWORK; repeatable.  "
            "[default: all]",
        ),
    ] = None,
    bpp: Annotated[
        list[float] | None,
        typer.Option(
            metavar="BITS",
            help="Rate for every codec, bits per pixel; repeatable.  [default: 0.125 0.25 0.5]",
        ),
    ] = None,
    ladder: Annotated[
        bool, typer.Option(help="Fixed settings as well, for rate-distortion curves.")
    ] = True,
    classifier: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=FILE]|none",
            help="Network asked, with weights of its own; repeatable.  "
            "[default: efficientnet-lite0]",
        ),
    ] = None,
    detector: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILE", help="Detector asked, with its weights; repeatable."),
    ] = None,
    among: Annotated[
        bool,
        typer.Option("--among", help="Restrict classifiers to the classes of the set as well."),
    ] = False,
    include: options.Include = None,
    limit: options.Limit = None,
    force: options.Force = False,
    anchor: Annotated[
        str, typer.Option(metavar="NAME", help="Codec that BD-rates compare with.")
    ] = "jpeg",
    crops: Annotated[
        int, typer.Option(min=0, metavar="N", help="Images shown side by side in the report.")
    ] = 4,
    local: options.Local = False,
    workers: options.Workers = None,
    tracking_uri: options.TrackingUri = None,
    run_name: Annotated[
        str, typer.Option(metavar="NAME", help="Name of the run in MLflow.")
    ] = "evaluate",
    verbose: options.Verbose = False,
) -> None:
    """Measure and report."""
    if local and workers:
        raise UsageError("--local is one process; leave out --workers")
    settings = Settings(
        source=source,
        out=out,
        codecs=tuple(codec or default_codecs()),
        anchor=anchor,
        plan=MeasurementPlan(bpp=tuple(bpp or (0.125, 0.25, 0.5)), ladder=ladder),
        classifiers=tuple(c for c in classifier or ["efficientnet-lite0"] if c != options.NONE),
        detectors=tuple(detector or ()),
        among=among,
        include=tuple(include or ()),
        limit=limit,
        force=force,
        local=local,
        workers=workers,
        verbose=verbose,
        crops=crops,
    )
    run(settings, tracking_uri=tracking_uri, run_name=run_name)


def run(settings: Settings, *, tracking_uri: str | None, run_name: str) -> None:
    """Do it; raises `PartialFailureError` at the end when images couldn't be read."""
    tracking.check_store(tracking_uri)
    images = find_images(settings.source, include=settings.include, limit=settings.limit)
    names, models = local_codecs(settings.codecs)
    coders, problems = find_codecs(names)
    if not coders:
        raise InputError(f"not one codec can run here: {problems}")
    evaluators, missing = _evaluators(settings, images)
    problems |= missing
    for name, reason in problems.items():
        console.say(f"without {name}: {reason}")
    folder = Path(settings.out)
    about = provenance()
    rows = _measure(settings, images, coders, evaluators, folder / "results.jsonl", about, models)
    unreadable = {row.picture: row.error or "" for row in rows if row.kind == "unreadable"}
    rows = [row for row in rows if row.kind != "unreadable"]
    if not rows:
        raise InputError(f"not one of {counted(len(images), 'image')} can be read: {unreadable}")
    summary = summarise(rows, tolerance=settings.plan.tolerance, classes=annotated_classes(images))
    problems |= unreadable | summary.failures
    problems |= {f"{name}, left out of averages": why for name, why in summary.left_out.items()}
    report = build_report(settings, images, rows, summary, coders, problems, about)
    page = folder / "report.html"
    write_report(page, report)
    show_tables(report)
    params = {"source": settings.source or "embedded", "codecs": ",".join(settings.codecs),
              "pictures": len(images), "bpp": settings.plan.bpp}  # fmt: skip
    with tracking.tracked(
        "evaluate", run_name=run_name, uri=tracking_uri, params=params, tags=about
    ) as tracked:
        tracked.metrics(numbers(summary, settings.anchor))
        for path in (page, folder / "results.jsonl"):
            tracked.artifact(path)
    if problems:
        console.say(f"{counted(len(problems), 'problem')}, named in the report")
    console.say(f"report: {page}")
    of = f"{len(unreadable)} of {counted(len(images), 'image')}"
    fail_if(len(unreadable), f"{of} can't be read; the rest is measured")


def _evaluators(
    settings: Settings, images: list[ImageRef]
) -> tuple[list[Evaluator], dict[str, str]]:
    from deepsic.evaluation.evaluators import find_evaluators

    classes = tuple(sorted({ref.label for ref in images if ref.label is not None}))
    evaluators, missing = find_evaluators(make_evaluators(settings, classes))
    for evaluator in evaluators:
        vars(evaluator).pop("loaded", None)  # workers load their own
    return evaluators, missing


@contextlib.contextmanager
def _made(
    settings: Settings,
    work: list[Work],
    coders: list[MeasuredCodec],
    evaluators: list[Evaluator],
    models: Mapping[str, str],
) -> Iterator[Iterator[list[Measurement]]]:
    """The rows of each image as they are made, on Ray or in this process."""
    from pipelines.evaluation.measurer import measure_all, measure_here

    count = f"{counted(len(work), 'image')}, {counted(len(coders), 'codec')}"
    if settings.local:
        console.say(f"{count}, in this process")
        yield measure_here(work, coders, evaluators, settings.plan)
        return
    with ray_runtime(RuntimeOptions(num_cpus=settings.workers, verbose=settings.verbose)) as where:
        console.say(f"{count}, {where}")
        workers = settings.workers or cluster_cpus()
        yield measure_all(work, coders, evaluators, settings.plan, workers, models)


def _measure(
    settings: Settings,
    images: list[ImageRef],
    coders: list[MeasuredCodec],
    evaluators: list[Evaluator],
    path: Path,
    about: dict[str, str],
    models: Mapping[str, str],
) -> list[Measurement]:
    """Measure what is left, writing the lines of each image as it is done; all rows."""
    started = time.monotonic()
    by_key = {ref.key: ref for ref in images}
    try:
        record = Record.open(
            path, source=settings.source, plan=settings.plan, coders=coders, evaluators=evaluators,
            about=about, force=settings.force,
        )  # fmt: skip
        work = [(by_key[task.picture], task) for task in record.tasks(list(by_key))]
        # Stopped early, it has seen something of every folder, and the same with every codec.
        random.Random(0).shuffle(work)
        work.sort(key=lambda item: item[1].original)
        if len(work) < len(images):
            done = counted(len(images) - len(work), "image")
            console.say(f"{done} measured already, in {path}")
        if work:
            with (
                _made(settings, work, coders, evaluators, models) as made,
                console.progress("evaluate", len(work)) as progress,
            ):
                for rows in made:
                    record.add(rows)
                    failed = sum(row.error is not None for row in rows)
                    progress.advance(1, files=len(rows), failed=failed)
            console.say(f"measured in {time.monotonic() - started:.0f} s")
    except OSError as error:
        raise StorageError(f"can't write {path}: {error}") from error
    return record.of(list(by_key))


if __name__ == "__main__":
    app()
