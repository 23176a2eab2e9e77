"""The SAIC paper's Tables 1-6 and Figure 4 in their form, on the images at hand, from real files.

    # three variants from one start, same steps, three seeds
    python benchmarks/saic/run.py train variants/ --data runs/imagenette
    python benchmarks/saic/run.py measure imagenette/val runs/saic variants/*.safetensors
    python benchmarks/saic/run.py detect coco runs/saic variants/*-0.safetensors jpeg webp avif \\
          --weights fastestdet.pth --also voc_animals
    python benchmarks/saic/run.py show runs/saic

Every arm codes every image into a file of the rate asked for, header included. `measure` and
`detect` keep what they measured and go on where they stopped; `show` prints all tables that the
measurements allow, with the paper's numbers beside, and writes figure4.png where there are models
named `saic-tau<number>-<seed>`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.saic import detection, tables
from benchmarks.saic import measure as measuring
from pipelines.stage.exits import exit_codes
from pipelines.stage.options import new_app

app = new_app(__doc__)


@app.command()
@exit_codes
def train(
    out: Annotated[Path, typer.Argument(help="Folder for model files")],
    data: Annotated[list[str] | None, typer.Option(help="What preprocess.py made; repeat")] = None,
    start: Annotated[
        str, typer.Option(help="Model that all variants start from, of sic-machine's net")
    ] = "sic-2",
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps of each")] = 800,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each, from seed 0")] = 3,
    tau: Annotated[list[float] | None, typer.Option(help="Also SAIC at this tau; repeat")] = None,
) -> None:
    """Train the variants TDIC, APIC and SAIC."""
    from benchmarks.saic import variants

    variants.train(data, out, start=start, steps=steps, seeds=seeds, taus=tau or [])


@app.command()
@exit_codes
def measure(
    images: Annotated[Path, typer.Argument(help="Folder with a folder for each class (wnid)")],
    out: Annotated[Path, typer.Argument(help="Folder for measurements")],
    models: Annotated[list[str], typer.Argument(help="Model files, or names of coders")],
    rate: Annotated[list[float] | None, typer.Option(help="Bits a pixel; repeat")] = None,
    classifier: Annotated[list[str] | None, typer.Option(help="Networks; repeat")] = None,
    only: Annotated[str, typer.Option(help="File names to take")] = "*",
    limit: Annotated[int, typer.Option(help="Most images, evenly spaced")] = 10_000,
) -> None:
    """Code images at each rate and keep what classifiers say of them."""
    measuring.measure(
        images,
        out,
        models,
        rates=rate or [0.125, 0.25, 0.5],
        classifiers=classifier or ["efficientnet-lite0", "efficientnet-lite2"],
        only=only,
        limit=limit,
    )


@app.command()
@exit_codes
def detect(
    images: Annotated[Path, typer.Argument(help="Set of boxes, as YOLO or Pascal VOC has it")],
    out: Annotated[Path, typer.Argument(help="Folder for measurements")],
    models: Annotated[list[str], typer.Argument(help="Model files, or names of coders")],
    weights: Annotated[Path, typer.Option(help="FastestDet's state dict")],
    also: Annotated[list[Path] | None, typer.Option(help="Another set; repeat")] = None,
    rate: Annotated[list[float] | None, typer.Option(help="Bits a pixel; repeat")] = None,
) -> None:
    """Code images at each rate and score a detector on them (Table 5)."""
    folders = [images, *(also or [])]
    detection.detect(folders, out, models, weights=weights, rates=rate or [0.25, 0.5])


@app.command()
@exit_codes
def show(out: Annotated[Path, typer.Argument(help="Folder of measurements")]) -> None:
    """Print the tables that the measurements allow."""
    tables.show(out)


if __name__ == "__main__":
    app()
