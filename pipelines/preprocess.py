"""Prepare images for training: decode safely, scale, cut, write Parquet shards and a manifest.

    python pipelines/preprocess.py                                  # photographs of scikit-image
    python pipelines/preprocess.py photos/ --out runs/prepared --scales 1,0.75,0.5
    python pipelines/preprocess.py s3://bucket/imagenet/train --shape center --side 224
    python pipelines/preprocess.py 'cid22?scales=1,0.75,0.5' 'bsds500?weight=0.8&scales=0.9,0.6'
                'imagenette/train?weight=0.05&scales=0.62&every=3' --exclude 'ILSVRC2012_val_*'
    python pipelines/preprocess.py 's3://bucket/imagenet-wds?classes=imagenet1k'   # WebDataset tars
    python pipelines/preprocess.py imagenet-parquet/                               # of a data hub

A source is a folder or s3:// prefix of images, tars (WebDataset, or folders packed) and Parquet
files with image bytes. Classes come from class folders (one level, as ImageNet has them), a tar's
.cls or .json, or a label column; where those are numbers, ?classes= names them: a label set such
as imagenet1k, or a text file with a name a line. Bad files go to quarantine.jsonl with their
reason. The same command resumes where it stopped; changed settings or files start a new version
beside the old. OUT/current.json names the last.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipelines.preparing.job import prepare
from pipelines.preparing.policy import EMBEDDED, DataSource, Policy, parse_scales
from pipelines.stage import console, options
from pipelines.stage.exits import exit_codes
from pipelines.stage.runtime import RuntimeOptions

app = options.new_app(__doc__)


@app.command(help=app.info.help)
@exit_codes
def preprocess(
    source: Annotated[
        list[str] | None,
        typer.Argument(metavar="SRC", help="Folders or s3://...; none: embedded photographs."),
    ] = None,
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="DST", help="Folder or s3://....")
    ] = "runs/prepared",
    scales: Annotated[
        str, typer.Option(metavar="X,Y,...", help="Sizes of every image, above 0 to 1.")
    ] = "1",
    shape: Annotated[
        Literal["whole", "center", "grid"],
        typer.Option(help="Whole images, one square of the middle, or a grid of squares."),
    ] = "whole",
    side: Annotated[
        int, typer.Option(metavar="PX", help="Largest side, or side of squares, pixels.")
    ] = 1024,
    min_side: Annotated[
        int, typer.Option(metavar="PX", help="Smaller images go to quarantine, pixels.")
    ] = 64,
    gray: Annotated[bool, typer.Option(help="Keep images without colour.")] = True,
    exclude: options.Exclude = None,
    shard_images: Annotated[
        int, typer.Option(min=1, metavar="N", help="Image files in a shard.")
    ] = 64,
    workers: options.Workers = None,
    verbose: options.Verbose = False,
) -> None:
    """Prepare."""
    policy = Policy(
        scales=parse_scales(scales), shape=shape, side=side, min_side=min_side, gray=gray,
        exclude=tuple(exclude or ()), pictures_a_shard=shard_images,
    )  # fmt: skip
    sources = [DataSource.parse(text) for text in source or [EMBEDDED]]
    manifest = prepare(
        sources, out, policy, runtime=RuntimeOptions(num_cpus=workers, verbose=verbose)
    )
    rows = [(name, count) for name, count in manifest.counts.items()]
    console.table(f"{out}/{manifest.version}", ("", "count"), rows)
    empty = [name for name, count in manifest.class_counts.items() if not count]
    if empty:
        console.say(f"classes without a usable image: {', '.join(empty)}")


if __name__ == "__main__":
    app()
