"""The charts of README and docs/results/rate.md, from what `field.py` left of Kodak.

OMP_NUM_THREADS=1 python benchmarks/rate/field.py kodak/ --out field.jsonl
python benchmarks/rate/charts.py field.jsonl docs/
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks import options
from pipelines.report.figures import Series, draw_chart
from pipelines.report.page import published_series

BPP = "bits per pixel (whole files)"
TITLES = {
    "sic": "DeepSIC", "sic tune psnr": "DeepSIC, tune psnr", "avif speed 6": "AVIF",
    "webp method 4": "WebP", "jpeg": "JPEG",
}  # fmt: skip
"""Lines of the large charts; other codecs have small ones."""
CHARTS = {
    "kodak.png": ("ssimulacra2", "SSIMULACRA2", None),
    "kodak_psnr.png": ("psnr_rgb", "PSNR of RGB, dB", "psnr_rgb"),
    "kodak_ms_ssim.png": ("ms_ssim_db", "MS-SSIM of RGB, -10 log10(1 - x), dB", "ms_ssim_rgb"),
}
"""File: measure of a row, its name, and that of published curves, if there are any."""


def main(
    field: Annotated[Path, typer.Argument(help="Rows of field.py.")],
    out: Annotated[Path, typer.Argument(help="Folder for three PNG files.")],
) -> None:
    """Draw them."""
    rows = [json.loads(line) for line in field.read_text("utf-8").splitlines()]
    count = len({row["image"] for row in rows})
    title = "Kodak, 24 images" if count == 24 else f"{count} of Kodak's 24 images"
    for file, (measure, label, published) in CHARTS.items():
        names = TITLES if published is None else dict.fromkeys(row["codec"] for row in rows)
        series = [_series(rows, name, measure) for name in names]
        if published is not None:
            series += published_series(published)
        figure = draw_chart(series, x_label=BPP, y_label=label, title=title, x_range=(0.0, 2.0))
        figure.savefig(out / file, dpi=144, metadata={"Software": None})


def _series(rows: list[dict[str, Any]], codec: str, measure: str) -> Series:
    """Means over the images of a codec's rows at each setting."""
    at: dict[float, list[tuple[float, float]]] = defaultdict(list)
    for row in rows:
        if row["codec"] == codec:
            at[row["knob"]].append((row["bpp"], row[measure]))
    points = sorted(tuple(np.mean(pairs, 0).tolist()) for pairs in at.values())
    x, y = zip(*points, strict=True)
    return Series(
        title=TITLES.get(codec, codec), x=x, y=y, ours=codec.startswith("sic"),
        small=codec not in TITLES,
    )  # fmt: skip


if __name__ == "__main__":
    options.run(main)
