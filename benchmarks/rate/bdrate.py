"""BD-rate of a model against JPEG, WebP, JPEG 2000 and published curves on a folder of images.

    python benchmarks/rate/bdrate.py kodak/ --model sic

Whole files, decoded 8-bit images, means of per-image bpp and PSNR-RGB, every codec on the same
images in one run. `pipelines/evaluate.py` measures far more; this is the short way to one figure.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image

from benchmarks import options
from deepsic.codec import Codec
from deepsic.evaluation.baselines import find_codecs
from deepsic.evaluation.metrics.bdrate import Curve, bd_rate
from deepsic.models.effort import DEFAULT_EFFORT
from pipelines.report.published import Published

QUALITIES = (8, 22, 36, 50, 64, 80)
BASELINES = ("jpeg", "webp", "jpeg2000")


def measure(blob: bytes, decoded: Image.Image, rgb: NDArray[np.uint8]) -> tuple[float, float]:
    """Bits per pixel and PSNR-RGB, dB."""
    error = np.asarray(decoded.convert("RGB"), np.float64) - rgb
    return 8 * len(blob) / rgb[..., 0].size, float(10 * np.log10(65025 / np.mean(error**2)))


def main(
    folder: options.Images,
    model: options.Model = "sic",
    effort: Annotated[int, typer.Option(min=1, max=9)] = DEFAULT_EFFORT,
    published: Annotated[bool, typer.Option(help="Published curves of Kodak, too.")] = False,
) -> None:
    """Print the model's curve and its BD-rate against each baseline."""
    torch.set_num_threads(1)
    codec = Codec.load(model, tune="psnr", effort=effort)
    paths = options.images_in(folder)
    images = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    typer.echo(f"{len(images)} images, model {codec.name} {codec.identity.hex()}")
    ours = []
    for quality in QUALITIES:
        points = []
        for rgb in images:
            blob = codec.encode(rgb, quality=quality, labels=False)
            points.append(measure(blob, codec.decode(blob), rgb))
        ours.append(np.mean(points, 0))
        typer.echo(f"quality {quality}: {ours[-1][0]:.4f} bpp, {ours[-1][1]:.3f} dB")
    curve = Curve(*np.array(ours).T.tolist())
    for coder in find_codecs(BASELINES)[0]:
        theirs = []
        for knob in coder.ladder:
            points = []
            for rgb in images:
                blob = coder.encode(Image.fromarray(rgb), knob)
                points.append(measure(blob, coder.decode(blob), rgb))
            theirs.append(np.mean(points, 0))
        rate = bd_rate(Curve(*np.array(theirs).T.tolist()), curve, rates=None)
        typer.echo(f"against {coder.title}: {rate:+.2f} %")
    if published:
        for entry in Published.load("psnr_rgb").values():
            rate = bd_rate(entry.curve, curve, rates=None)
            typer.echo(f"against {entry.title} as published ({entry.source}): {rate:+.2f} %")


if __name__ == "__main__":
    options.run(main)
