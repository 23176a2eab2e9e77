"""BD-rate of a model against Pillow's JPEG, WebP and JPEG 2000 on a folder of pictures.

    python benchmarks/rate/bdrate.py kodak/ --model sic

Whole files, decoded 8-bit pictures, means of per-picture bpp and PSNR-RGB, every codec on the same
pictures in one run. `pipelines/evaluate.py` measures far more; this is the short way to one figure.
"""

from __future__ import annotations

import io
from typing import Any

import bjontegaard
import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image

from benchmarks import options
from deepsic.codec import Codec

QUALITIES = (8, 22, 36, 50, 64, 80)
BASELINES: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "JPEG": ("JPEG", [{"quality": q, "optimize": True} for q in (8, 15, 25, 40, 55, 70, 82, 90)]),
    "WebP": ("WEBP", [{"quality": q} for q in (1, 8, 20, 40, 60, 78, 88)]),
    "JPEG 2000": (
        "JPEG2000",
        [
            {"irreversible": True, "mct": 1, "quality_mode": "rates", "quality_layers": [ratio]}
            for ratio in (240, 120, 70, 40, 26, 17, 12)
        ],
    ),
}


def measure(blob: bytes, decoded: Image.Image, rgb: NDArray[np.uint8]) -> tuple[float, float]:
    """Bits per pixel and PSNR-RGB, dB."""
    error = np.asarray(decoded.convert("RGB"), np.float64) - rgb
    return 8 * len(blob) / rgb[..., 0].size, float(10 * np.log10(65025 / np.mean(error**2)))


def main(
    folder: options.Images,
    model: options.Model = "sic",
) -> None:
    """Print the model's curve and its BD-rate against each baseline."""
    torch.set_num_threads(1)
    codec = Codec.load(model)
    paths = options.images_in(folder)
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    typer.echo(f"{len(pictures)} images, model {codec.name} {codec.identity.hex()}")
    ours = []
    for quality in QUALITIES:
        points = []
        for rgb in pictures:
            blob = codec.encode(rgb, quality=quality)
            points.append(measure(blob, codec.decode(blob), rgb))
        ours.append(np.mean(points, 0))
        typer.echo(f"quality {quality}: {ours[-1][0]:.4f} bpp, {ours[-1][1]:.3f} dB")
    bpp, psnr = np.array(ours).T
    for name, (kind, settings) in BASELINES.items():
        curve = []
        for setting in settings:
            points = []
            for rgb in pictures:
                file = io.BytesIO()
                Image.fromarray(rgb).save(file, kind, **setting)
                points.append(measure(file.getvalue(), Image.open(file), rgb))
            curve.append(np.mean(points, 0))
        baseline_bpp, baseline_psnr = np.array(curve).T
        rate = bjontegaard.bd_rate(
            baseline_bpp, baseline_psnr, bpp, psnr, method="pchip",
            require_matching_points=False, min_overlap=0,
        )  # fmt: skip
        typer.echo(f"against {name}: {rate:+.2f} %")


if __name__ == "__main__":
    options.run(main)
