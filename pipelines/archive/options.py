"""Options of the archive's commands: for each its type and its help text.

`compress_archive.py` names them, and holds their defaults.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from pipelines.archive.work.check import Verify


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

SourceUrl = Annotated[
    str | None, typer.Argument(metavar="SRC", help="Folder, s3://..., or one object.")
]
DestinationUrl = Annotated[str | None, typer.Argument(metavar="DST", help="Folder or s3://...")]
Model = Annotated[str, typer.Option(help="Shipped model, model file, or s3://...")]
Quality = Annotated[int | None, typer.Option(help="1-100; 50 when no target is given.")]
Bpp = Annotated[float | None, typer.Option(help="Bits per pixel of each file.")]
MaxBytes = Annotated[int | None, typer.Option(help="Largest size of each file.")]
Labeler = Annotated[str | None, typer.Option(help="Classifier whose labels go into the files.")]
Top = Annotated[int, typer.Option(help="Labels kept for each image.")]
RefineFor = Annotated[
    list[str] | None,
    typer.Option(help="Classifier to fit the files to, slowly; repeat for several."),
]
VerifyLevel = Annotated[Verify, typer.Option(help="Checks of each file.")]
PsnrFloor = Annotated[float, typer.Option(help="Least dB with --verify decode.")]
Include = Annotated[
    list[str] | None,
    typer.Option(help="Take only keys like this ('*.jpg'; * matches slashes); repeatable."),
]
Exclude = Annotated[list[str] | None, typer.Option(help="Leave out keys like this; repeatable.")]
FilesFrom = Annotated[
    str | None, typer.Option(help="File of keys below SRC, one a line; - for a pipe.")
]
Inventory = Annotated[
    str | None, typer.Option(help="S3 Inventory in place of a listing: its manifest.json.")
]
Limit = Annotated[int | None, typer.Option(help="Work on at most so many objects in this run.")]
MaxFailures = Annotated[int, typer.Option(help="Stop when more objects fail; -1: never.")]
RetryFailed = Annotated[bool, typer.Option(help="Try again what failed or was unsupported before.")]
FailOn = Annotated[
    Fatal, typer.Option(help="Exit with 1 for failures, or for unsupported images as well.")
]
AllowEmpty = Annotated[bool, typer.Option(help="A source without objects is fine.")]
Overwrite = Annotated[bool, typer.Option(help="Replace objects at DST that this job didn't write.")]
Preserve = Annotated[
    bool, typer.Option(help="Give outputs the modification time of their sources.")
]
LabelsBeside = Annotated[
    list[LabelsAs] | None, typer.Option(help="Labels beside the S3 object as well; repeatable.")
]
Seconds = Annotated[float, typer.Option(help="Time limit for one image, s; 0: none.")]
MaxPixels = Annotated[int, typer.Option(help="Largest image, pixels.")]
CpusPerTask = Annotated[
    float | None,
    typer.Option(help="CPUs of a task; 1, or 0.5 with S3, where tasks wait for the store."),
]
MetricsFile = Annotated[
    str | None, typer.Option(help="Keep the run's numbers in this file, for Prometheus.")
]
DryRun = Annotated[bool, typer.Option(help="Estimate from a sample; write nothing.")]
