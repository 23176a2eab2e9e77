"""Compress a whole archive of pictures, on one machine or a Ray cluster, and never lose one.

    python pipelines/compress_archive.py photos/ s3://bucket/archive      # run again to go on
    python pipelines/compress_archive.py                                  # a demonstration in ./out
    python pipelines/compress_archive.py verify  s3://bucket/archive
    python pipelines/compress_archive.py restore s3://bucket/archive restored/
    python pipelines/compress_archive.py find    s3://bucket/archive dog --min-prob 0.5
    python pipelines/compress_archive.py report  s3://bucket/archive

Every source object gets one row in the ledger (`DST/.deepsic/ledger`): ok, skipped, or failed with
a reason. ok means: the `.sic` is at its final key and was read back. Kill anything at any time and
run the same command again: the same bytes. Exit codes are those of `deepsic/errors.py`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from deepsic.errors import UsageError
from pipelines import console
from pipelines.archive.commands import show
from pipelines.archive.commands.find import find as find_pictures
from pipelines.archive.commands.report import failures, report_archive
from pipelines.archive.ledger import Ledger
from pipelines.archive.settings import JobSettings, read_job
from pipelines.archive.work.check import Check, Verify
from pipelines.archive.work.codec import ModelSource
from pipelines.exits import exit_codes, fail_if
from pipelines.storage import Storage, open_storage

# "\b" keeps a paragraph's lines as they are.
HELP = __doc__.replace("\n\n    python", "\n\n\b\n    python")
app = typer.Typer(
    add_completion=False, help=HELP, rich_markup_mode=None, pretty_exceptions_enable=False
)

Archive = Annotated[str, typer.Argument(metavar="DST", help="The archive: a folder or s3://...")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON for machines.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]


@app.command()
@exit_codes
def compress(
    source: Annotated[str | None, typer.Argument(metavar="SRC", help="Folder or s3://...")] = None,
    destination: Annotated[
        str | None, typer.Argument(metavar="DST", help="Folder or s3://...")
    ] = None,
    model: Annotated[str, typer.Option(help="Name of a shipped model, or a model file.")] = "sic",
    quality: Annotated[int | None, typer.Option(help="1-100; 50 when no target is given.")] = None,
    bpp: Annotated[float | None, typer.Option(help="Bits per pixel of each file.")] = None,
    max_bytes: Annotated[int | None, typer.Option(help="Largest size of each file.")] = None,
    labeler: Annotated[
        str | None, typer.Option(help="Classifier whose labels go into the files.")
    ] = None,
    top: Annotated[int, typer.Option(help="Labels kept for each picture.")] = 5,
    refine_for: Annotated[
        list[str] | None,
        typer.Option(help="Classifier to fit the files to, slowly; repeat for several."),
    ] = None,
    verify: Annotated[Verify, typer.Option(help="Checks of each file.")] = Verify.CRC,
    psnr_floor: Annotated[float, typer.Option(help="Least dB with --verify decode.")] = 15.0,
    max_failures: Annotated[
        int, typer.Option(help="Stop when more objects fail; -1: never.")
    ] = 1000,
    retry_failed: Annotated[bool, typer.Option(help="Try again what failed before.")] = False,
    seconds: Annotated[float, typer.Option(help="Time limit for one picture; 0: none.")] = 60.0,
    max_pixels: Annotated[int, typer.Option(help="Largest picture.")] = 200_000_000,
    device: Device = "auto",
    dry_run: Annotated[bool, typer.Option(help="Estimate from a sample; write nothing.")] = False,
) -> None:
    """Compress every picture of SRC into DST; run again to go on."""
    from deepsic.limits import Limits
    from pipelines.archive.plan import Request, demonstrate, estimate, work

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
        max_failures=None if max_failures < 0 else max_failures,
        retry_failed=retry_failed,
    )
    if source is None or destination is None:
        show.made(demonstrate(request))
        return
    if dry_run:
        show.estimate(estimate(request, open_storage(source), destination))
        return
    archive = open_storage(destination)
    summary = work(request, open_storage(source), archive)
    show.summary(summary, archive)
    fail_if(summary.failed, "objects failed; see the report command, then --retry-failed")


@app.command()
@exit_codes
def verify(
    archive: Archive,
    mark: Annotated[
        bool, typer.Option(help="Let the next run make the damaged outputs again.")
    ] = False,
) -> None:
    """Read every output again and compare it with the ledger; needs no model."""
    from pipelines.archive.cluster import Resources
    from pipelines.archive.commands.verify import verify_archive
    from pipelines.runtime import RuntimeOptions, ray_runtime

    destination, _ = opened(archive)
    with ray_runtime(RuntimeOptions(data=False)):
        found = verify_archive(destination, Resources(), mark=mark)
    show.verified(found)
    fail_if(len(found.problems), "outputs are damaged; --mark lets the next run make them again")


@app.command()
@exit_codes
def restore(
    archive: Archive,
    out: Annotated[str, typer.Argument(metavar="OUT", help="Folder or s3://... for PNG files.")],
    model: Annotated[str | None, typer.Option(help="Name or file; default: the job's.")] = None,
    force: Annotated[bool, typer.Option(help="Write pictures again that are there.")] = False,
    device: Device = "auto",
) -> None:
    """Decode an archive back to pictures: SRC/a.jpg becomes OUT/a.jpg.png."""
    from pipelines.archive.plan import restore_all

    destination, settings = opened(archive)
    source = ModelSource(model=model or settings.model, device=device)
    found = restore_all(destination, open_storage(out), source, settings.model_id, force=force)
    show.restored(found, out)
    fail_if(len(found.problems), "pictures could not be restored")


@app.command()
@exit_codes
def find(
    archive: Archive,
    query: Annotated[str, typer.Argument(help="A label, a WordNet parent (dog), or a wnid.")],
    min_prob: Annotated[float, typer.Option(min=0, max=1, help="Least probability.")] = 0.0,
    json_lines: Json = False,
) -> None:
    """List the pictures that show something, from the ledger: no picture is read."""
    destination, _ = opened(archive)
    count = 0
    for match in find_pictures(Ledger(destination), query, min_prob):
        count += 1
        show.match(match, json_lines=json_lines)
    console.say(f"{count} pictures")


@app.command()
@exit_codes
def report(
    archive: Archive,
    failed: Annotated[int, typer.Option(help="Failures to list.")] = 20,
    json_lines: Json = False,
) -> None:
    """Sum an archive up from its ledger."""
    destination, settings = opened(archive)
    ledger = Ledger(destination)
    found = report_archive(ledger)
    if json_lines:
        listed = failures(ledger, failed)
        typer.echo(json.dumps(found.to_dict() | {"job": settings.job_id, "failed": listed}))
        return
    show.report(found, failures(ledger, failed), settings)


def opened(url: str) -> tuple[Storage, JobSettings]:
    """An archive that exists, and its job's settings."""
    archive = open_storage(url)
    archive.check()
    job = read_job(archive)
    if job is None:
        raise UsageError(f"{archive.url} holds no archive; compress one into it first")
    return archive, JobSettings(**job["settings"])


def main(arguments: list[str]) -> None:
    """Run a command; without the name of one, `compress`."""
    names = {command.callback.__name__ for command in app.registered_commands if command.callback}
    if not arguments or arguments[0] not in {*names, "--help"}:
        arguments = ["compress", *arguments]
    app(arguments, prog_name=Path(__file__).name)


if __name__ == "__main__":
    main(sys.argv[1:])
