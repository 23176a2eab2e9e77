"""Images of a validation: originals beside decoded images, and the rate–distortion curve."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from deepsic.training.validation import Validation

__all__ = ["write_figures"]


def write_figures(found: Validation, folder: Path) -> None:
    """`sample_N.png`, original left, and `rate_distortion.png`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    for number, pair in enumerate(found.samples):
        Image.fromarray(np.concatenate(pair, 1)).save(folder / f"sample_{number}.png")
    figure = Figure(figsize=(5, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot(found.bpp, found.psnr, marker="o")
    axes.set(xlabel="bpp (estimate)", ylabel="PSNR, dB", title="validation images")
    axes.grid(alpha=0.3)
    figure.savefig(folder / "rate_distortion.png", dpi=110)
