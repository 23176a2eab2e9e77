"""The first paper's Table I and Figures 5 to 8 in their form, from real files.

    python benchmarks/first_paper/run.py rd kodak/ runs/deepsic deepsic-pre sic jpeg jpeg2000
    python benchmarks/first_paper/run.py contexts kodak/ runs/deepsic deepsic-pre
    python benchmarks/first_paper/run.py table1 imagenette/val runs/deepsic deepsic-pre \\
          --classifier efficientnet-lite0 --classifier squeezenet
    python benchmarks/first_paper/run.py table1 imagenette runs/thousand deepsic-pre \\
          --classes imagenet1k --only 'ILSVRC2012_val_*'
    python benchmarks/first_paper/run.py label_cost imagenette/val runs/deepsic deepsic-pre \\
          deepsic-post
    python benchmarks/first_paper/run.py sheets kodak/ imagenette/val runs/deepsic deepsic-pre
    python benchmarks/first_paper/run.py show runs/deepsic --reference REFERENCE

Models are files or shipped names. `rd` and `table1` keep what they measured and go on where they
stopped; `show` prints all that the measurements allow, with the paper's numbers and other authors'
published curves beside, and draws figure6_7.png.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.first_paper import label_cost, rd, sheets, tables
from benchmarks.first_paper.contexts import compare_contexts
from benchmarks.first_paper.table1 import measure_table
from pipelines.stage.exits import exit_codes
from pipelines.stage.options import new_app

app = new_app(__doc__)
Images = Annotated[Path, typer.Argument(help="Folder of images")]
Classes = Annotated[Path, typer.Argument(help="Folder with a folder for each class (wnid)")]
Out = Annotated[Path, typer.Argument(help="Folder of measurements")]
Models = Annotated[list[str], typer.Argument(help="Model files, or names of coders")]


@app.command("rd")
@exit_codes
def rd_command(
    images: Images,
    out: Out,
    models: Models,
    every: Annotated[int, typer.Option(help="Take every n-th image")] = 1,
) -> None:
    """Figures 6 and 7: rate, luma PSNR and MS-SSIM of whole files."""
    rd.measure_rd(images, out, models, every)


@app.command("contexts")
@exit_codes
def contexts_command(
    images: Images,
    out: Out,
    model: Annotated[str, typer.Argument(help="A model of the presets")],
    every: Annotated[int, typer.Option(help="Take every n-th image")] = 1,
    quality: Annotated[list[int] | None, typer.Option(help="Repeat")] = None,
) -> None:
    """Section III-B: trained contexts against adaptive-only ones and raw bits."""
    paths = sorted(p for p in images.iterdir() if p.suffix in (".png", ".webp"))[::every]
    rows = compare_contexts(model, paths, quality or [13, 33, 58])
    out.mkdir(parents=True, exist_ok=True)
    (out / "contexts.json").write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
    tables.show_contexts(rows)


@app.command()
@exit_codes
def table1(
    images: Classes,
    out: Out,
    models: Models,
    classifier: Annotated[list[str] | None, typer.Option(help="On originals; repeat")] = None,
    limit: Annotated[int, typer.Option(help="Most images, evenly spaced")] = 10_000,
    classes: Annotated[str, typer.Option(help="Label set of the folders")] = "imagenette",
    only: Annotated[str, typer.Option(help="Names of the files to take")] = "*",
) -> None:
    """Table I: accuracy of labels read from files."""
    measure_table(images, out, models, classifier or [], limit=limit, classes=classes, only=only)


@app.command("label_cost")
@exit_codes
def label_cost_command(
    images: Classes,
    out: Out,
    models: Models,
    limit: Annotated[int, typer.Option(help="Images")] = 20,
) -> None:
    """What labels without pixels save: time and multiplications."""
    label_cost.measure_label_cost(images, out, models, limit)


@app.command("sheets")
@exit_codes
def sheets_command(kodak: Images, images: Classes, out: Out, models: Models) -> None:
    """Figures 5 and 8 as contact sheets."""
    sheets.draw(kodak, images, out, models)


@app.command()
@exit_codes
def show(
    out: Out,
    reference: Annotated[Path | None, typer.Option(help="Published curves")] = None,
) -> None:
    """Print the tables that the measurements allow, draw Figures 6 and 7."""
    tables.show(out, reference)


if __name__ == "__main__":
    app()
