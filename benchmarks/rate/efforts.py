"""Rate and time of `sic`'s efforts on a folder of images, against the default effort.

    OMP_NUM_THREADS=1 python benchmarks/rate/efforts.py photos/ --out efforts.json

Whole files without labels, tuned for PSNR. BD-rate from means over the images of bpp and PSNR of
RGB; time is processor time, as a ratio to the default effort's within the run.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from benchmarks import options
from benchmarks.rate.field import timed
from deepsic.codec import Codec
from deepsic.evaluation.metrics.bdrate import Curve, bd_rate
from deepsic.evaluation.metrics.distortion import compare
from deepsic.models.effort import DEFAULT_EFFORT

TRIED = (1, 6, 7, 8, 9)


def main(
    folder: options.Images,
    model: options.Model = "sic",
    effort: Annotated[list[int] | None, typer.Option(help="Repeatable.")] = None,
    quality: Annotated[list[int] | None, typer.Option(help="Repeatable.")] = None,
    out: options.Out = None,
) -> None:
    """Print a line an effort."""
    images = [np.asarray(Image.open(p).convert("RGB")) for p in options.images_in(folder)]
    pixels = sum(image[..., 0].size for image in images)
    curves, seconds = {}, {}
    for level in dict.fromkeys((DEFAULT_EFFORT, *(effort or TRIED))):
        codec = Codec.load(model, device="cpu", tune="psnr", effort=level)
        codec.encode(images[0], quality=50, labels=False)  # compiles and loads
        points, spent = [], 0.0
        for step in quality or (20, 40, 60):
            size, levels = 0, []
            for image in images:
                blob, took = timed(partial(codec.encode, image, quality=step, labels=False))
                levels.append(compare(image, np.asarray(codec.decode(blob))).psnr_rgb)
                size, spent = size + len(blob), spent + took
            points.append((8 * size / pixels, float(np.mean(levels))))
        curves[level], seconds[level] = Curve(*map(list, zip(*points, strict=True))), spent
        rate = bd_rate(curves[DEFAULT_EFFORT], curves[level], rates=None)
        times = seconds[level] / seconds[DEFAULT_EFFORT]
        typer.echo(f"effort {level}: BD-rate {rate:+.2f} %, time {times:.2f}")
    options.keep(out, {
        str(level): {"bpp": list(c.bpp), "psnr": list(c.quality), "seconds": seconds[level]}
        for level, c in curves.items()
    })  # fmt: skip


if __name__ == "__main__":
    options.run(main)
