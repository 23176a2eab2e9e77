"""The archive job with the stand-in codec, as a command: python drive.py SRC DST.

For benchmarks of the machinery where the net would only cost time.
"""

from __future__ import annotations

import sys

from deepsic.bitstream import VERSION
from pipelines.archive.cluster import Resources
from pipelines.archive.job import run_job
from pipelines.archive.settings import JobSettings
from pipelines.archive.work.chunk import ArchiveJob
from pipelines.stage.exits import exit_codes, fail_if
from pipelines.stage.runtime import ray_runtime
from pipelines.storage import open_storage
from tests.pipelines.archive.fakes import IDENTITY, WebpSource


@exit_codes
def drive(source: str, destination: str) -> None:
    """Compress with WebP inside."""
    settings = JobSettings(
        model="webp", model_id=IDENTITY.hex(), format_version=VERSION, quality=50
    )
    job = ArchiveJob(
        source=open_storage(source),
        destination=open_storage(destination),
        settings=settings,
        codec=WebpSource(),
    )
    with ray_runtime():
        fail_if(run_job(job, Resources()).failed, "some objects failed")


if __name__ == "__main__":
    import typer

    try:
        drive(*sys.argv[1:])
    except typer.Exit as end:
        sys.exit(end.exit_code)
