"""Make the files that the page searches: low-rate `.sic` files of photographs that may be shared.

    python benchmarks/service/gallery.py PHOTOGRAPHS pipelines/web/gallery

PHOTOGRAPHS holds the originals that `sources.tsv` in the destination names (file, licence,
credit, address). Each is reduced to 480 pixels, labelled and encoded; `jpeg.tsv` gets the size of
the smallest progressive JPEG with the same PSNR, which the page shows beside. Run it again when
the model changes.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import deepsic
from benchmarks import options
from deepsic.evaluation.metrics.distortion import psnr
from pipelines.serving.work.baselines import coder_of
from pipelines.serving.work.images import shrink

LONGEST = 480
BPP = 0.35


def closeness(image: Image.Image, decoded: Image.Image) -> float:
    """PSNR over RGB, dB."""
    difference = np.asarray(image, np.float32) - np.asarray(decoded, np.float32)
    return psnr(float(np.mean(difference**2)))


def jpeg_bytes(image: Image.Image, wanted: float) -> int:
    """Size of the smallest progressive JPEG that is as close to `image`, bytes."""
    coder = coder_of("jpeg")
    low, high = coder.low, coder.high
    while high - low > 0.5:
        middle = (low + high) / 2
        if closeness(image, coder.decode(coder.encode(image, middle))) < wanted:
            low = middle
        else:
            high = middle
    return len(coder.encode(image, high))


def main(
    photographs: Annotated[Path, typer.Argument(exists=True, file_okay=False)],
    gallery: Annotated[Path, typer.Argument(exists=True, file_okay=False)],
) -> None:
    """Make them."""
    codec = deepsic.Codec.load("sic")
    with (gallery / "sources.tsv").open(newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    sizes = []
    for row in rows:
        with Image.open(photographs / row["file"]) as opened:
            image = shrink(opened.convert("RGB"), LONGEST)
        image.info.clear()
        blob = codec.encode(image, bpp=BPP)
        name = f"{Path(row['file']).stem}.sic"
        (gallery / name).write_bytes(blob)
        sizes.append((name, jpeg_bytes(image, closeness(image, codec.decode(blob)))))
    with (gallery / "jpeg.tsv").open("w", newline="") as out:
        writer = csv.writer(out, delimiter="\t", lineterminator="\n")
        writer.writerows([("name", "bytes"), *sizes])


if __name__ == "__main__":
    options.run(main)
