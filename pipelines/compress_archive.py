"""Compress a whole archive of images, on one machine or a Ray cluster, and never lose one.

    python pipelines/compress_archive.py photos/ s3://bucket/archive      # run again to resume
    python pipelines/compress_archive.py                                  # a demonstration in ./out
    python pipelines/compress_archive.py verify  s3://bucket/archive
    python pipelines/compress_archive.py restore s3://bucket/archive restored/
    python pipelines/compress_archive.py find    s3://bucket/archive dog
    python pipelines/compress_archive.py report  s3://bucket/archive

Every source object gets a row in the ledger (`DST/.deepsic/ledger`): ok, skipped (no image),
unsupported (an image that this release can't read), or failed, with a reason. ok means: the `.sic`
is at its final key and was read back. Safe to kill: rerunning resumes and produces identical bytes.

Addresses of S3 take the AWS command line's options after a question mark, each side its own:
's3://bucket/photos?profile=partner&request-payer'. Exit codes are those of `deepsic/errors.py`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from deepsic.errors import UsageError, VerificationError, counted
from deepsic.labels import TOP
from deepsic.models.effort import DEFAULT_EFFORT
from pipelines.archive import options
from pipelines.archive.commands import show
from pipelines.archive.ledger import Ledger
from pipelines.archive.ledger.rules import SQL
from pipelines.archive.options import Fatal, LabelsAs
from pipelines.archive.query import FLOOR
from pipelines.archive.settings import JobSettings, read_job
from pipelines.archive.work.check import Check, Verify
from pipelines.archive.work.codec import ModelSource
from pipelines.stage import console
from pipelines.stage.exits import exit_codes, fail_if
from pipelines.storage import open_storage

if TYPE_CHECKING:
    from pipelines.archive.plan import Request

app = options.new_app(__doc__)


@app.command()
@exit_codes
def compress(
    source: options.SourceUrl = None,
    destination: options.DestinationUrl = None,
    model: options.Model = "sic",
    tune: options.Tune = None,
    effort: options.Effort = DEFAULT_EFFORT,
    quality: options.Quality = None,
    bpp: options.Bpp = None,
    max_bytes: options.MaxBytes = None,
    labeler: options.Labeler = None,
    top: options.Top = TOP,
    refine_for: options.RefineFor = None,
    refine_steps: options.RefineSteps = None,
    verify: options.VerifyLevel = Verify.CRC,
    psnr_floor: options.PsnrFloor = 15.0,
    include: options.Include = None,
    exclude: options.Exclude = None,
    files_from: options.FilesFrom = None,
    inventory: options.Inventory = None,
    limit: options.Limit = None,
    max_failures: options.MaxFailures = 1000,
    retry_failed: options.RetryFailed = False,
    fail_on: options.FailOn = Fatal.FAILED,
    allow_empty: options.AllowEmpty = False,
    force: options.Force = False,
    preserve: options.Preserve = False,
    labels_as: options.LabelsBeside = None,
    image_seconds: options.ImageSeconds = 60.0,
    max_pixels: options.MaxPixels = 200_000_000,
    device: options.Device = "auto",
    cpus_per_task: options.CpusPerTask = None,
    metrics_file: options.MetricsFile = None,
    dry_run: options.DryRun = False,
) -> None:
    """Compress every image of SRC into DST; run again to resume."""
    from deepsic.limits import Limits
    from pipelines.archive.job import RunOptions
    from pipelines.archive.listing.selection import Selection
    from pipelines.archive.plan import Request
    from pipelines.archive.work.beside import Beside

    target = {"quality": quality, "bpp": bpp, "max_bytes": max_bytes}
    if all(value is None for value in target.values()):
        target["quality"] = 50
    beside = labels_as or ()
    request = Request(
        model=ModelSource(
            model=model, device=device, tune=tune, effort=effort,
            limits=Limits(max_pixels=max_pixels),
            labeler=labeler, top=top, refine_for=tuple(refine_for or ()),
            refine_steps=refine_steps,
        ),
        target=target,
        check=Check(verify=verify, psnr_floor=psnr_floor),
        seconds_per_image=image_seconds or 0.0,
        overwrite=force,
        beside=Beside(
            preserve=preserve,
            label_metadata=LabelsAs.METADATA in beside, label_tags=LabelsAs.TAGS in beside,
        ),
        run=RunOptions(
            selection=Selection(
                files_from=files_from, inventory=inventory,
                include=tuple(include or ()), exclude=tuple(exclude or ()),
            ),
            retry_failed=retry_failed, limit=limit, allow_empty=allow_empty, metrics=metrics_file,
            max_failures=max_failures,
        ),
        cpus=cpus_per_task,
    )  # fmt: skip
    _run(request, source, destination, fail_on=fail_on, dry_run=dry_run)


def _run(
    request: Request, source: str | None, destination: str | None, *, fail_on: Fatal, dry_run: bool
) -> None:
    """Do what was asked for: the demonstration, an estimate, or the job."""
    from pipelines.archive.plan import demonstrate, estimate, work

    if source is None:
        show.made(demonstrate(request))
        return
    if destination is None:
        raise UsageError("give a destination as well: a folder or s3://bucket/prefix")
    if dry_run:
        show.estimate(estimate(request, source, destination))
        return
    archive = open_storage(destination)
    summary = work(request, source, archive)
    show.summary(summary, archive)
    failed = counted(summary.failed, "object")
    fail_if(summary.failed, f"{failed} failed; see the report command, then --retry-failed")
    if fail_on is Fatal.UNSUPPORTED:
        unsupported = counted(summary.unsupported, "image")
        fail_if(summary.unsupported, f"{unsupported} of formats that this release can't read")


@app.command()
@exit_codes
def verify(
    archive: options.Archive,
    mark: Annotated[
        bool, typer.Option("--mark", help="Let the next run make the damaged outputs again.")
    ] = False,
) -> None:
    """Read every output again and compare it with the ledger; needs no model."""
    from pipelines.archive.plan import verify_all

    ledger, _ = opened(archive)
    found = verify_all(ledger, mark=mark)
    show.verified(found)
    if found.damaged:
        raise VerificationError(
            f"{found.damaged} outputs are damaged; "
            + ("run the job again" if mark else "--mark lets the next run make them again")
        )


@app.command()
@exit_codes
def restore(
    archive: options.Archive,
    out: Annotated[str, typer.Argument(metavar="OUT", help="Folder or s3://... for the images.")],
    include: options.Include = None,
    label: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only images that find lists for this.")
    ] = None,
    min_prob: options.MinProb = FLOOR,
    as_: Annotated[
        Literal["png", "source"],
        typer.Option("--as", help="png, or the source's format where it can be."),
    ] = "png",
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name, file or s3://....  [default: the job's]"),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Write images again that are there.")
    ] = False,
    device: options.Device = "auto",
) -> None:
    """Decode an archive back to images: SRC/a.jpg becomes OUT/a.jpg.png, or with --as source a.jpg.

    EXIF, ICC profile, XMP and modification time are the source's.
    """
    from pipelines.archive.commands.restore import RestoreOptions
    from pipelines.archive.plan import restore_all

    ledger, settings = opened(archive)
    source = ModelSource(model=model or settings.model, device=device)
    chosen = RestoreOptions(
        force=force,
        include=tuple(include or ()),
        label=label,
        min_prob=min_prob,
        as_source=as_ == "source",
    )
    found = restore_all(ledger, open_storage(out), source, settings.model_id, chosen)
    show.restored(found, out)
    fail_if(found.failed, f"{counted(found.failed, 'image')} could not be restored")


@app.command()
@exit_codes
def find(
    archive: options.Archive,
    query: Annotated[str, typer.Argument(help="A label, a WordNet parent (dog), or a wnid.")],
    min_prob: options.MinProb = FLOOR,
    limit: Annotated[
        int, typer.Option(min=1, metavar="N", help="List at most N images, the most probable.")
    ] = 1000,
    json_lines: options.Json = False,
) -> None:
    """List the images that show something, most probable first: no image is read."""
    from pipelines.archive.commands.find import find as find_images

    ledger, _ = opened(archive)
    found = find_images(ledger, query, min_prob, limit)
    for match in found.matches:
        show.match(match, json_lines=json_lines)
    console.say(f"{found.name}: {counted(found.total, 'image')}, {len(found.matches)} listed")


@app.command()
@exit_codes
def report(
    archive: options.Archive,
    limit: Annotated[int, typer.Option(min=0, metavar="N", help="List at most N failures.")] = 20,
    json_lines: options.Json = False,
) -> None:
    """Sum an archive up from its ledger."""
    from pipelines.archive.commands.report import failures, report_archive

    ledger, settings = opened(archive)
    found = report_archive(ledger)
    if json_lines:
        listed = failures(ledger, limit)
        typer.echo(json.dumps(found.to_dict() | {"job": settings.job_id, "failed": listed}))
        return
    show.report(found, failures(ledger, limit), settings)


@app.command()
@exit_codes
def ledger(
    archive: options.Archive,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Parquet file to write: one row an object."
        ),
    ] = None,
) -> None:
    """Print the SQL (DuckDB's) that gives one row an object, or write those rows to a file."""
    from pipelines.archive.commands.export import export_ledger
    from pipelines.archive.ledger import LEDGER

    found, _ = opened(archive)
    if out is None:
        typer.echo(SQL.format(ledger=f"{found.storage.url}/{LEDGER}"))
        return
    console.say(counted(export_ledger(found, out), "object"))
    show.made([str(out)])


@app.command()
@exit_codes
def compact(archive: options.Archive) -> None:
    """Merge the ledger's many small parts into few large ones; runs do it by themselves."""
    from pipelines.archive.ledger.compact import compact as compact_ledger

    found, _ = opened(archive)
    done = compact_ledger(found)
    console.say(f"{counted(done.before, 'part')}, now {done.after}; {done.removed} removed")


@app.command()
@exit_codes
def prune(
    archive: options.Archive,
    source: Annotated[
        str | None,
        typer.Option(metavar="SRC", help="Address of the source.  [default: the job's]"),
    ] = None,
    delete_extraneous: Annotated[
        bool,
        typer.Option("--delete-extraneous", help="Delete them. Look at the list without it first."),
    ] = False,
) -> None:
    """List outputs whose source is gone; with --delete-extraneous, delete them."""
    from pipelines.archive.commands.prune import prune_archive

    found, _ = opened(archive)
    job = read_job(found.storage) or {}
    place = open_storage(source or job["source"])
    if place.url != job["source"]:
        raise UsageError(f"{found.storage.url} is the archive of {job['source']}, not {place.url}")
    place.check()
    show.pruned(prune_archive(found, place, delete=delete_extraneous), deleted=delete_extraneous)


def opened(url: str) -> tuple[Ledger, JobSettings]:
    """The ledger of an archive that exists, and its job's settings."""
    archive = open_storage(url)
    archive.check()
    job = read_job(archive)
    if job is None:
        raise UsageError(f"{archive.url} holds no archive; compress one into it first")
    settings = JobSettings(**job["settings"])
    return Ledger(archive, settings.job_id), settings


def main(arguments: list[str]) -> None:
    """Run a command; without the name of one, `compress`."""
    names = {command.callback.__name__ for command in app.registered_commands if command.callback}
    if not arguments or arguments[0] not in {*names, "--help"}:
        arguments = ["compress", *arguments]
    app(arguments, prog_name=Path(__file__).name)


if __name__ == "__main__":
    main(sys.argv[1:])
