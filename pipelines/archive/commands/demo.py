"""The demonstration: photographs that scikit-image ships, before and after, in one image."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from deepsic.bitstream import Label, certain
from deepsic.data.photographs import photographs
from pipelines.archive.ledger import OK, Ledger
from pipelines.stage import console
from pipelines.storage import open_storage

__all__ = ["comparison", "gather_photographs", "photograph_table"]

COLUMNS = (
    "status",
    "output_key",
    "source_size",
    "output_size",
    "width",
    "height",
    "bpp",
    "psnr",
    "labels",
)


def gather_photographs(folder: Path) -> None:
    """Copy the photographs to `folder`; those that are there stay as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in photographs():
        if not (folder / path.name).exists():
            shutil.copyfile(path, folder / path.name)


def rows_of(archive: str) -> list[dict[str, Any]]:
    """The finished rows of a small archive."""
    tables = Ledger(open_storage(archive)).tables(COLUMNS)
    return [row for table in tables for row in table.to_pylist() if row["status"] == OK]


def label_of(row: dict[str, Any]) -> str:
    """The most exact name that is certain, with its probability."""
    seen = [Label(one["name"], one["wnid"], one["probability"]) for one in row["labels"]]
    sure = certain(seen)
    return "nothing certain" if sure is None else f"{sure.name} {sure.probability:.0%}"


def photograph_table(archive: str) -> None:
    """Print file, sizes, bpp, PSNR and label of each image of a small archive."""
    console.table(
        "Photographs",
        ["file", "pixels", "bytes in", "bytes out", "bpp", "PSNR dB", "label"],
        [
            [
                row["source_key"],
                f"{row['width']}x{row['height']}",
                f"{row['source_size']:,}",
                f"{row['output_size']:,}",
                f"{row['bpp']:.3f}",
                None if row["psnr"] is None else f"{row['psnr']:.2f}",
                label_of(row),
            ]
            for row in rows_of(archive)
        ],
    )


def comparison(originals: Path, archive: str, decoded: Path, target: Path) -> None:
    """Draw originals (left) beside what their `.sic` files decode to (right)."""
    from matplotlib.figure import Figure
    from PIL import Image

    rows = rows_of(archive)
    figure = Figure(figsize=(10, 3.6 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), 2, squeeze=False)
    for (left, right), row in zip(axes, rows, strict=True):
        key = row["source_key"]
        with Image.open(originals / key) as image:
            left.imshow(image.convert("RGB"))
        with Image.open(decoded / f"{key}.png") as image:
            right.imshow(image.convert("RGB"))
        left.set_title(f"{key}: {row['source_size']:,} bytes")
        quality = "" if row["psnr"] is None else f", {row['psnr']:.1f} dB"
        right.set_title(
            f"{row['output_size']:,} bytes, {row['bpp']:.2f} bpp{quality}, {label_of(row)}"
        )
        for axis in (left, right):
            axis.axis("off")
    figure.savefig(target, dpi=100)
