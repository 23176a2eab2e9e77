"""Options of the archive's commands: for each its type and its help text; with those that all
stages share (`pipelines/stage/options.py`).

`compress_archive.py` names them, and holds their defaults.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

import typer

from deepsic.models.effort import EFFORTS
from pipelines.archive.work.check import Verify
from pipelines.stage.options import (
    Device,
    Exclude,
    ImageSeconds,
    Include,
    Json,
    Limit,
    MaxFailures,
    MaxPixels,
    new_app,
    size,
)  # fmt: skip

__all__ = [
    "AllowEmpty", "Archive", "Bpp", "CpusPerTask", "DestinationUrl", "Device", "DryRun", "Effort",
    "Exclude",
    "FailOn", "Fatal", "FilesFrom", "Force", "ImageSeconds", "Include", "Inventory", "Json",
    "Labeler", "LabelsAs", "LabelsBeside", "Limit", "MaxBytes", "MaxFailures", "MaxPixels",
    "MetricsFile", "MinProb", "Model", "Preserve", "PsnrFloor", "Quality", "RefineFor",
    "RefineSteps",
    "RetryFailed", "SourceUrl", "Top", "Tune", "VerifyLevel", "new_app",
]  # fmt: skip


class Fatal(StrEnum):
    """What makes a run exit with 1."""

    FAILED = "failed"
    UNSUPPORTED = "unsupported"


class LabelsAs(StrEnum):
    """Where the labels of an output are stored beside its own first bytes."""

    METADATA = "metadata"
    TAGS = "tags"


Archive = Annotated[str, typer.Argument(metavar="DST", help="The archive: a folder or s3://...")]
MinProb = Annotated[
    float, typer.Option(min=0, max=1, help="Least probability of the label, 0 to 1.")
]

SourceUrl = Annotated[
    str | None, typer.Argument(metavar="SRC", help="Folder, s3://..., or one object.")
]
DestinationUrl = Annotated[str | None, typer.Argument(metavar="DST", help="Folder or s3://...")]
Model = Annotated[str, typer.Option(help="Shipped model, model file, or s3://...")]
Effort = Annotated[
    int,
    typer.Option(
        min=EFFORTS[0], max=EFFORTS[-1], metavar="1-9",
        help="1: fastest; 9: smallest, some hundred times slower.",
    ),
]  # fmt: skip
Tune = Annotated[
    Literal["psnr", "ssim"] | None,
    typer.Option(
        help="psnr: least squared error; ssim: most structural similarity.  "
        "[default: ssim if the model has it]"
    ),
]
Quality = Annotated[
    int | None,
    typer.Option(
        min=1, max=100, metavar="1..100", help="[default: 50, without --bpp or --max-bytes]"
    ),
]
Bpp = Annotated[
    float | None, typer.Option(metavar="BITS", help="Largest size of each file, bits per pixel.")
]
MaxBytes = Annotated[
    int | None,
    typer.Option(parser=size, metavar="SIZE", help="Largest size of each file, 20000 or 20KB."),
]
Labeler = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|none", help="Classifier whose labels go into the files [the model's own]."
    ),
]
Top = Annotated[int, typer.Option(min=1, metavar="K", help="Labels kept for each image.")]
RefineFor = Annotated[
    list[str] | None,
    typer.Option(metavar="NETWORK", help="Classifier to fit the files to, slowly; repeatable."),
]
RefineSteps = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, help="Gradient steps of it; 1: one look.", show_default="16"),
]
VerifyLevel = Annotated[Verify, typer.Option(help="Checks of each file.")]
PsnrFloor = Annotated[
    float, typer.Option(metavar="DB", help="Least PSNR with --verify decode, dB.")
]
FilesFrom = Annotated[
    str | None, typer.Option(help="File of keys below SRC, one a line; - for a pipe.")
]
Inventory = Annotated[
    str | None, typer.Option(help="S3 Inventory in place of a listing: its manifest.json.")
]
RetryFailed = Annotated[
    bool,
    typer.Option("--retry-failed", help="Try again what failed or was unsupported before."),
]
FailOn = Annotated[
    Fatal, typer.Option(help="Exit with 1 for failures, or for unsupported images as well.")
]
AllowEmpty = Annotated[
    bool, typer.Option("--allow-empty", help="A source without objects is fine.")
]
Force = Annotated[
    bool, typer.Option("--force", "-f", help="Replace objects at DST that this job didn't write.")
]
Preserve = Annotated[
    bool,
    typer.Option("--preserve", help="Give outputs the modification time of their sources."),
]
LabelsBeside = Annotated[
    list[LabelsAs] | None, typer.Option(help="Labels beside the S3 object as well; repeatable.")
]
CpusPerTask = Annotated[
    float | None,
    typer.Option(metavar="N", help="CPUs of a task.  [default: 1; with S3, where tasks wait, 0.5]"),
]
MetricsFile = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Keep the run's numbers in this file, for Prometheus."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Estimate from a sample; write nothing.")]
