"""The charts of README and docs/results/rate.md, from what an evaluation of Kodak left behind.

python pipelines/evaluate.py kodak/ --out runs/kodak
python benchmarks/rate/charts.py runs/kodak/results.jsonl docs/
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks import options
from deepsic.evaluation.baselines import find_codecs
from deepsic.evaluation.measure import Measurement
from deepsic.evaluation.summary import CodecSummaries, summarise
from deepsic.zoo import names
from pipelines.report.figures import Series, draw_chart
from pipelines.report.page import CHARTED, published_series

BPP = "bits per pixel (whole files)"
DECIBELS = {"psnr_rgb": "PSNR of RGB, dB", "ms_ssim_rgb": "MS-SSIM of RGB, -10 log10(1 - x), dB"}


def main(
    results: Annotated[Path, typer.Argument(help="results.jsonl of an evaluation of Kodak.")],
    out: Annotated[Path, typer.Argument(help="Folder for three PNG files.")],
) -> None:
    """Draw them."""
    lines = [json.loads(line) for line in results.read_text("utf-8").splitlines()]
    rows = [Measurement(**line) for line in lines if line["kind"] == "ladder"]
    count = len({row.picture for row in rows})
    title = "Kodak, 24 images" if count == 24 else f"{count} of Kodak's 24 images"
    summary = summarise(rows)
    titles = {coder.name: coder.title for coder in find_codecs(summary.codecs())[0]}
    _write(
        out / "kodak.png",
        _series(summary, titles, "psnr_rgb", ["sic", *CHARTED]),
        "psnr_rgb",
        title,
    )
    for quality, name in (("psnr_rgb", "kodak_psnr.png"), ("ms_ssim_rgb", "kodak_ms_ssim.png")):
        series = _series(summary, titles, quality, summary.codecs())
        _write(out / name, [*series, *published_series(quality)], quality, title)


def _series(
    summary: CodecSummaries, titles: dict[str, str], quality: str, codecs: list[str]
) -> list[Series]:
    found = []
    for codec in codecs:
        curve = summary.curve(codec, quality)
        if curve is not None:
            ours = codec in names()
            found.append(
                Series(title=titles[codec], x=curve.bpp, y=curve.quality, ours=ours,
                       small=not ours and codec not in CHARTED)
            )  # fmt: skip
    return found


def _write(path: Path, series: list[Series], quality: str, title: str) -> None:
    figure = draw_chart(
        series, x_label=BPP, y_label=DECIBELS[quality], title=title, x_range=(0.0, 2.0)
    )
    figure.savefig(path, dpi=144, metadata={"Software": None})


if __name__ == "__main__":
    options.run(main)
