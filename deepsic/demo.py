"""Compress a few photographs and show what came back: `make demo`.

    python -m deepsic.demo out/demo            # scikit-image's photographs
    python -m deepsic.demo out/demo my/*.jpg

Writes every picture's `.sic` file and `side_by_side.png` (original left, decoded right), and prints
file, size, bits a pixel, PSNR and the label.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from deepsic import files
from deepsic.bitstream import info
from deepsic.data.image import load_image
from deepsic.errors import DeepsicError, UsageError
from deepsic.labeler import Labeler, load_labeler

if TYPE_CHECKING:
    from deepsic.codec import Codec

__all__ = ["Result", "main"]

_PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
_LABELER = "efficientnet-lite0"
_SHEET_WIDTH = 640


@dataclass(frozen=True, kw_only=True)
class Result:
    """One picture, there and back."""

    name: str
    original: NDArray[np.uint8]
    decoded: NDArray[np.uint8]
    bytes_total: int
    bpp: float
    labels: str
    seconds_encode: float
    seconds_decode: float

    @property
    def psnr(self) -> float:
        """Peak signal-to-noise ratio over R, G and B, dB."""
        difference = self.original.astype(np.float32) - self.decoded
        return float(10 * np.log10(255**2 / max(np.mean(difference**2), 1e-9)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return an exit code."""
    parser = argparse.ArgumentParser(prog="python -m deepsic.demo", description="See `make demo`.")
    parser.add_argument("output", type=Path, help="folder for what is made")
    parser.add_argument("pictures", nargs="*", help="files, folders or globs [scikit-image's own]")
    parser.add_argument("--quality", type=int, default=50, metavar="1..100")
    parser.add_argument("--model", default="sic")
    options = parser.parse_args(arguments)
    console = Console()
    try:
        results = _run(options.pictures, options.output, options.quality, options.model)
    except DeepsicError as error:
        sys.stderr.write(f"deepsic: {error}\n")
        return error.exit_code
    sheet = options.output / "side_by_side.png"
    _sheet(results).save(sheet)
    console.print(_table(results))
    console.print(f"Originals beside what was decoded: {sheet}")
    return 0


def _run(sources: list[str], output: Path, quality: int, model: str) -> list[Result]:
    from deepsic.codec import Codec

    pictures = list(_pictures(sources))
    codec = Codec.load(model)
    labeler = load_labeler(_LABELER)
    codec.decode(codec.encode(np.zeros((64, 64, 3), np.uint8)))  # compile before the clock runs
    console = Console(stderr=True)
    steps = track(pictures, "Compressing", console=console, transient=True)
    return [_there_and_back(codec, labeler, path, output, quality) for path in steps]


def _pictures(sources: list[str]) -> Iterable[Path]:
    if sources:
        return [path for path, _ in files.expand(sources, files.PICTURES)]
    try:
        import skimage
    except ModuleNotFoundError:
        raise UsageError(
            "the demo's photographs are in scikit-image: install deepsic[demo]"
        ) from None
    folder = Path(skimage.__file__).parent / "data"
    return [folder / name for name in _PHOTOGRAPHS]


def _there_and_back(
    codec: Codec, labeler: Labeler, path: Path, output: Path, quality: int
) -> Result:
    original = load_image(path)
    with Image.open(path) as picture:
        labels = list(labeler(picture))
    start = time.perf_counter()
    blob = codec.encode(path, quality=quality, labels=labels)
    middle = time.perf_counter()
    decoded = codec.decode(blob).convert("RGB")
    end = time.perf_counter()
    files.write(output / f"{path.stem}.sic", blob, force=True)
    facts = info(blob)
    return Result(
        name=f"{path.stem}.sic",
        original=original.rgb,
        decoded=np.asarray(decoded),
        bytes_total=facts.bytes_total,
        bpp=facts.bpp,
        labels=", ".join(f"{label.name} {label.probability:.0%}" for label in facts.labels[:1]),
        seconds_encode=middle - start,
        seconds_decode=end - middle,
    )


def _table(results: list[Result]) -> Table:
    table = Table("file")
    for column in ("size", "bytes", "bpp", "PSNR dB", "encode ms", "decode ms"):
        table.add_column(column, justify="right")
    table.add_column("label")
    for result in results:
        height, width = result.original.shape[:2]
        table.add_row(
            result.name,
            f"{width}x{height}",
            f"{result.bytes_total:,}",
            f"{result.bpp:.3f}",
            f"{result.psnr:.2f}",
            f"{1000 * result.seconds_encode:.0f}",
            f"{1000 * result.seconds_decode:.0f}",
            result.labels,
        )
    return table


def _sheet(results: list[Result]) -> Image.Image:
    """Return one picture: a row a photograph, original left, decoded right."""
    rows = []
    for result in results:
        pair = Image.fromarray(np.hstack([result.original, result.decoded]))
        rows.append(
            pair.resize((2 * _SHEET_WIDTH, round(2 * _SHEET_WIDTH * pair.height / pair.width)))
        )
    sheet = Image.new("RGB", (2 * _SHEET_WIDTH, sum(row.height for row in rows)))
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet


if __name__ == "__main__":
    sys.exit(main())
