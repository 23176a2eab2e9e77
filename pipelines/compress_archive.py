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
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from deepsic.errors import UsageError, VerificationError
from pipelines.archive.commands import show
from pipelines.archive.ledger import Ledger
from pipelines.archive.ledger.rules import SQL
from pipelines.archive.query import FLOOR
from pipelines.archive.settings import JobSettings, read_job
from pipelines.archive.work.check import Check, Verify
from pipelines.archive.work.codec import ModelSource
from pipelines.stage import console
from pipelines.stage.exits import exit_codes, fail_if
from pipelines.storage import open_storage

# "\b" keeps a paragraph's lines as they are.
HELP = __doc__.replace("\n\n    python", "\n\n\b\n    python")
app = typer.Typer(
    add_completion=False, help=HELP, rich_markup_mode=None, pretty_exceptions_enable=False
)


class Fatal(StrEnum):
    """What makes a run exit with 1."""

    FAILED = "failed"
    UNSUPPORTED = "unsupported"


class LabelsAs(StrEnum):
    """Where the labels of an output are stored beside its own first bytes."""

    METADATA = "metadata"
    TAGS = "tags"


Archive = Annotated[str, typer.Argument(metavar="DST", help="The archive: a folder or s3://...")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON for machines.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
MinProb = Annotated[
    float, typer.Option(min=0, max=1, help="Least probability of the label, 0 to 1.")
]


@app.command()
@exit_codes
def compress(
    source: Annotated[
        str | None, typer.Argument(metavar="SRC", help="Folder, s3://..., or one object.")
    ] = None,
    destination: Annotated[
        str | None, typer.Argument(metavar="DST", help="Folder or s3://...")
    ] = None,
    model: Annotated[str, typer.Option(help="Shipped model, model file, or s3://...")] = "sic",
    quality: Annotated[int | None, typer.Option(help="1-100; 50 when no target is given.")] = None,
    bpp: Annotated[float | None, typer.Option(help="Bits per pixel of each file.")] = None,
    max_bytes: Annotated[int | None, typer.Option(help="Largest size of each file.")] = None,
    labeler: Annotated[
        str | None, typer.Option(help="Classifier whose labels go into the files.")
    ] = None,
    top: Annotated[int, typer.Option(help="Labels kept for each image.")] = 5,
    refine_for: Annotated[
        list[str] | None,
        typer.Option(help="Classifier to fit the files to, slowly; repeat for several."),
    ] = None,
    verify: Annotated[Verify, typer.Option(help="Checks of each file.")] = Verify.CRC,
    psnr_floor: Annotated[float, typer.Option(help="Least dB with --verify decode.")] = 15.0,
    include: Annotated[
        list[str] | None,
        typer.Option(help="Take only keys like this ('*.jpg'; * matches slashes); repeatable."),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Leave out keys like this; repeatable.")
    ] = None,
    files_from: Annotated[
        str | None, typer.Option(help="File of keys below SRC, one a line; - for a pipe.")
    ] = None,
    inventory: Annotated[
        str | None, typer.Option(help="S3 Inventory in place of a listing: its manifest.json.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Work on at most so many objects in this run.")
    ] = None,
    max_failures: Annotated[
        int, typer.Option(help="Stop when more objects fail; -1: never.")
    ] = 1000,
    retry_failed: Annotated[
        bool, typer.Option(help="Try again what failed or was unsupported before.")
    ] = False,
    fail_on: Annotated[
        Fatal, typer.Option(help="Exit with 1 for failures, or for unsupported images as well.")
    ] = Fatal.FAILED,
    allow_empty: Annotated[bool, typer.Option(help="A source without objects is fine.")] = False,
    overwrite: Annotated[
        bool, typer.Option(help="Replace objects at DST that this job didn't write.")
    ] = False,
    preserve: Annotated[
        bool, typer.Option(help="Give outputs the modification time of their sources.")
    ] = False,
    labels_as: Annotated[
        list[LabelsAs] | None, typer.Option(help="Labels beside the S3 object as well; repeatable.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Time limit for one image, s; 0: none.")] = 60.0,
    max_pixels: Annotated[int, typer.Option(help="Largest image, pixels.")] = 200_000_000,
    device: Device = "auto",
    cpus_per_task: Annotated[
        float | None,
        typer.Option(help="CPUs of a task; 1, or 0.5 with S3, where tasks wait for the store."),
    ] = None,
    metrics_file: Annotated[
        str | None, typer.Option(help="Keep the run's numbers in this file, for Prometheus.")
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Estimate from a sample; write nothing.")] = False,
) -> None:
    """Compress every image of SRC into DST; run again to resume."""
    from deepsic.limits import Limits
    from pipelines.archive.job import RunOptions
    from pipelines.archive.listing.selection import Selection
    from pipelines.archive.plan import Request, demonstrate, estimate, work
    from pipelines.archive.work.beside import Beside

    if source is not None and destination is None:
        raise UsageError("give a destination as well: a folder or s3://bucket/prefix")
    if quality is None and bpp is None and max_bytes is None:
        quality = 50
    request = Request(
        model=ModelSource(
            model=model,
            device=device,
            limits=Limits(max_pixels=max_pixels),
            labeler=labeler,
            top=top,
            refine_for=tuple(refine_for or ()),
        ),
        target={"quality": quality, "bpp": bpp, "max_bytes": max_bytes},
        check=Check(verify=verify, psnr_floor=psnr_floor),
        seconds_per_picture=seconds,
        overwrite=overwrite,
        beside=Beside(
            preserve=preserve,
            label_metadata=LabelsAs.METADATA in (labels_as or ()),
            label_tags=LabelsAs.TAGS in (labels_as or ()),
        ),
        run=RunOptions(
            selection=Selection(
                files_from=files_from,
                inventory=inventory,
                include=tuple(include or ()),
                exclude=tuple(exclude or ()),
            ),
            retry_failed=retry_failed,
            limit=limit,
            max_failures=None if max_failures < 0 else max_failures,
            allow_empty=allow_empty,
            metrics=metrics_file,
        ),
        cpus=cpus_per_task,
    )
    if source is None or destination is None:
        show.made(demonstrate(request))
        return
    if dry_run:
        show.estimate(estimate(request, source, destination))
        return
    archive = open_storage(destination)
    summary = work(request, source, archive)
    show.summary(summary, archive)
    fail_if(summary.failed, "objects failed; see the report command, then --retry-failed")
    if fail_on is Fatal.UNSUPPORTED:
        fail_if(summary.unsupported, "images are of formats that this release can't read")


@app.command()
@exit_codes
def verify(
    archive: Archive,
    mark: Annotated[
        bool, typer.Option(help="Let the next run make the damaged outputs again.")
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
    archive: Archive,
    out: Annotated[str, typer.Argument(metavar="OUT", help="Folder or s3://... for the images.")],
    match: Annotated[
        str | None, typer.Option(help="Only sources like this ('2019/*'; * matches slashes).")
    ] = None,
    label: Annotated[str | None, typer.Option(help="Only images that show this, as find.")] = None,
    min_prob: MinProb = FLOOR,
    as_: Annotated[
        str, typer.Option("--as", help="png, or source: the source's format where it can be.")
    ] = "png",
    model: Annotated[str | None, typer.Option(help="Name or file; default: the job's.")] = None,
    force: Annotated[bool, typer.Option(help="Write images again that are there.")] = False,
    device: Device = "auto",
) -> None:
    """Decode an archive back to images: SRC/a.jpg becomes OUT/a.jpg.png, or with --as source a.jpg.

    EXIF, ICC profile, XMP and modification time are the source's.
    """
    from pipelines.archive.commands.restore import RestoreOptions
    from pipelines.archive.plan import restore_all

    if as_ not in ("png", "source"):
        raise UsageError(f"--as {as_} must be png or source")
    ledger, settings = opened(archive)
    source = ModelSource(model=model or settings.model, device=device)
    options = RestoreOptions(
        force=force, match=match, label=label, min_prob=min_prob, as_source=as_ == "source"
    )
    found = restore_all(ledger, open_storage(out), source, settings.model_id, options)
    show.restored(found, out)
    fail_if(found.failed, "images could not be restored")


@app.command()
@exit_codes
def find(
    archive: Archive,
    query: Annotated[str, typer.Argument(help="A label, a WordNet parent (dog), or a wnid.")],
    min_prob: MinProb = FLOOR,
    limit: Annotated[int, typer.Option(min=1, help="Images listed, the most probable.")] = 1000,
    json_lines: Json = False,
) -> None:
    """List the images that show something, most probable first: no image is read."""
    from pipelines.archive.commands.find import find as find_images

    ledger, _ = opened(archive)
    found = find_images(ledger, query, min_prob, limit)
    for match in found.matches:
        show.match(match, json_lines=json_lines)
    console.say(f"{found.name}: {found.total} images, {len(found.matches)} listed")


@app.command()
@exit_codes
def report(
    archive: Archive,
    failed: Annotated[int, typer.Option(help="Failures to list.")] = 20,
    json_lines: Json = False,
) -> None:
    """Sum an archive up from its ledger."""
    from pipelines.archive.commands.report import failures, report_archive

    ledger, settings = opened(archive)
    found = report_archive(ledger)
    if json_lines:
        listed = failures(ledger, failed)
        typer.echo(json.dumps(found.to_dict() | {"job": settings.job_id, "failed": listed}))
        return
    show.report(found, failures(ledger, failed), settings)


@app.command()
@exit_codes
def ledger(
    archive: Archive,
    out: Annotated[
        Path | None, typer.Option("--out", help="Parquet file to write: one row an object.")
    ] = None,
) -> None:
    """Print the SQL (DuckDB's) that gives one row an object, or write those rows to a file."""
    from pipelines.archive.commands.export import export_ledger
    from pipelines.archive.ledger import LEDGER

    found, _ = opened(archive)
    if out is None:
        typer.echo(SQL.format(ledger=f"{found.storage.url}/{LEDGER}"))
        return
    console.say(f"{export_ledger(found, out)} objects")
    show.made([str(out)])


@app.command()
@exit_codes
def compact(archive: Archive) -> None:
    """Merge the ledger's many small parts into few large ones; runs do it by themselves."""
    from pipelines.archive.ledger.compact import compact as compact_ledger

    found, _ = opened(archive)
    done = compact_ledger(found)
    console.say(f"{done.before} parts, now {done.after}; {done.removed} old ones removed")


@app.command()
@exit_codes
def prune(
    archive: Archive,
    source: Annotated[
        str | None, typer.Option(help="Address of the source; default: the job's.")
    ] = None,
    delete_extraneous: Annotated[
        bool, typer.Option(help="Delete them. Look at what is listed without this first.")
    ] = False,
) -> None:
    """List outputs whose source is gone, as `sync` would delete; delete nothing unless told."""
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
