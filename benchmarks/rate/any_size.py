"""Whether every image is brought to a size, and what WebP makes of as many bytes.

    python benchmarks/rate/any_size.py imagenette/ --like 'ILSVRC2012_val_*'

Whole files without labels, tuned for PSNR. WebP, method 4, gets the highest quality whose file is
no larger than ours; where quality 0 is larger, nothing is compared.
"""

from __future__ import annotations

import io
from fnmatch import fnmatch
from typing import Annotated

import numpy as np
import typer
from PIL import Image
from rich.progress import track

from benchmarks import options
from benchmarks.rate.field import pillow
from deepsic.codec import Codec
from deepsic.errors import InputError, UsageError
from deepsic.evaluation.metrics.distortion import compare


def webp_below(image: Image.Image, size: int) -> bytes | None:
    """The best WebP file of at most so many bytes."""
    encode, rgb = pillow("WEBP", method=4), np.asarray(image)
    low, high, found = 0, 100, None
    while low <= high:
        knob = (low + high) // 2
        blob = encode(rgb, knob)
        if len(blob) <= size:
            low, found = knob + 1, blob
        else:
            high = knob - 1
    return found


def main(
    folder: options.Images,
    bpp: Annotated[float, typer.Option(help="Size of whole files.")] = 0.125,
    like: Annotated[str, typer.Option(help="Names of the images.")] = "*",
    model: options.Model = "sic",
    out: options.Out = None,
) -> None:
    """Print how many images fit, how closely, and how they compare."""
    paths = [path for path in options.images_in(folder) if fnmatch(path.name, like)]
    if not paths:
        raise InputError(f"no image in {folder} is named like {like!r}")
    codec = Codec.load(model, tune="psnr")
    shares, gains, missed = [], [], []
    for path in track(paths, "encoding"):
        image = Image.open(path).convert("RGB")
        target = bpp * image.width * image.height / 8
        try:
            blob = codec.encode(image, bpp=bpp, labels=False)
        except UsageError as error:
            missed.append(f"{path.name}: {error}")
            continue
        shares.append(len(blob) / target)
        if webp := webp_below(image, len(blob)):
            pixels, rival = np.asarray(image), Image.open(io.BytesIO(webp)).convert("RGB")
            level = compare(pixels, np.asarray(codec.decode(blob))).psnr_rgb
            gains.append(level - compare(pixels, np.asarray(rival)).psnr_rgb)
    typer.echo(f"{len(shares)} of {len(paths)} images, at {np.mean(shares):.1%} of the target")
    typer.echo(f"on average, {np.min(shares):.1%} at least; WebP gets as small with {len(gains)},")
    typer.echo(
        f"we are ahead in {sum(g > 0 for g in gains)}, by {np.mean(gains):.2f} dB on average,"
    )
    typer.echo(f"{np.min(gains):.2f} dB at least")
    for line in missed:
        typer.echo(line)
    options.keep(out, {"shares": shares, "gains": gains, "missed": missed})
    if missed:
        raise typer.Exit(1)


if __name__ == "__main__":
    options.run(main)
