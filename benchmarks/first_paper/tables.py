"""Print what was measured beside the paper's numbers, and draw Figures 6 and 7."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.first_paper.contexts import SETS
from benchmarks.first_paper.rd import Curve, at_rates, curves, published
from benchmarks.first_paper.table1 import RATES
from deepsic import zoo
from pipelines.report.figures import STYLE, Series, draw_curves
from pipelines.stage import console

__all__ = ["PAPER", "show", "show_contexts"]

PAPER = (
    ("Pre-SA", 0.25, 52.2, 72.7), ("Post-SA", 0.25, 51.6, 71.4),
    ("Pre-SA", 0.5, 63.2, 82.2), ("Post-SA", 0.5, 61.9, 81.4),
    ("Pre-SA", 1.0, 68.7, 89.4), ("Post-SA", 1.0, 68.8, 89.9),
    ("Pre-SA", 1.5, 67.1, 90.1), ("Post-SA", 1.5, 68.9, 89.9),
    ("VGG-16 (10-crops)", None, 71.9, 90.7), ("Yolo Darknet", None, 76.5, 93.3),
    ("DenseNet-121 (10-crops)", None, 76.4, 93.4),
)  # fmt: skip
"""Table I: method, bpp, top-1 and top-5 in %, on ILSVRC's 1000 classes."""


def show_contexts(rows: Sequence[dict[str, float]]) -> None:
    """Bits a pixel by each kind of context, and what the trained ones save."""
    shown = []
    for row in [*rows, {key: sum(r[key] for r in rows) for key in rows[0]}]:
        best = min(row[f"fixed{sets}"] for sets in SETS)
        per_pixel = [8 * row[f"fixed{sets}"] / row["pixels"] for sets in SETS]
        shown.append((
            int(row["quality"]) if row in rows else "all", 8 * row["raw"] / row["pixels"],
            *(f"{value:.4f}" for value in per_pixel), f"{8 * row['trained'] / row['pixels']:.4f}",
            f"{100 * (1 - row['trained'] / best):.1f}",
            f"{100 * (1 - row['trained'] / row['raw']):.1f}",
        ))  # fmt: skip
    columns = (
        "quality", "raw bpp", *(f"adaptive, {sets} sets" for sets in SETS), "trained",
        "saved of best adaptive %", "saved of raw %",
    )  # fmt: skip
    console.table("Bits a pixel, streams", columns, shown)


def _rates(made: dict[str, Curve], count: int) -> None:
    for measure, title in (("ms_ssim_y", "MS-SSIM"), ("psnr_y", "PSNR, dB")):
        rows = []
        for coder, curve in made.items():
            values = at_rates(curve, measure, RATES)
            digits = 4 if measure == "ms_ssim_y" else 2
            rows.append((coder, *("-" if v is None else f"{v:.{digits}f}" for v in values)))
        columns = ("coder", *(f"{rate:g} bpp" for rate in RATES))
        console.table(f"Kodak luma {title}, {count} images, whole files", columns, rows)


def _figure(made: dict[str, Curve], count: int, reference: Path | None, out: Path) -> None:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    others = published(reference) if reference is not None else {}
    panels = (("ms_ssim_y", "MS-SSIM (luma)"), ("psnr_y", "PSNR (luma), dB"))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(12, 4.6), layout="constrained")
        for axes, (measure, title) in zip(figure.subplots(1, 2), panels, strict=True):
            lines = [
                Series(title=coder, x=curve["bpp"], y=curve[measure], ours=coder in zoo.names())
                for coder, curve in made.items()
            ]
            for name, curves_of in others.items():
                points = curves_of.get(measure)
                if points is None and measure == "ms_ssim_y":
                    points, name = curves_of.get("rgb"), f"{name}, RGB"
                if points:
                    x, y = zip(*points, strict=True)
                    lines.append(Series(title=name, x=x, y=y, published=True))
            axes.set(xlabel="bpp", title=title)
            axes.set_ylim((0.86, 1.0) if measure == "ms_ssim_y" else (24, 42))
            draw_curves(axes, lines, x_range=(0, 1.6))
        figure.suptitle(f"Kodak; coloured: measured on {count} images, whole files", fontsize=9)
        figure.savefig(out / "figure6_7.png", dpi=110)
    console.say(str(out / "figure6_7.png"))


def _table1(rows: Sequence[dict[str, object]], about: dict[str, object]) -> None:
    console.table("Table I, the paper (1000 classes)", ("method", "bpp", "top-1", "top-5"), PAPER)
    shown = [
        (row["method"], row["rate"], 100 * float(str(row["top1"])), 100 * float(str(row["top5"])),
         row.get("bpp"), row.get("ms"))
        for row in rows
    ]  # fmt: skip
    console.table(
        f"Table I, ours: {about['pictures']} images, {about['classes']} classes",
        ("method", "asked bpp", "top-1 %", "top-5 %", "bpp of files", "ms to labels"), shown,
    )  # fmt: skip


def show(out: Path, reference: Path | None) -> None:
    """Everything that the measurements in `out` allow."""
    if (out / "rd.jsonl").is_file():
        made, count = curves(out)
        _rates(made, count)
        _figure(made, count, reference, out)
    if (out / "contexts.json").is_file():
        show_contexts(json.loads((out / "contexts.json").read_text("utf-8")))
    if (out / "table1.json").is_file():
        found = json.loads((out / "table1.json").read_text("utf-8"))
        _table1(found["rows"], found["about"])
    if (out / "label_cost.json").is_file():
        found = json.loads((out / "label_cost.json").read_text("utf-8"))
        rows = [tuple(row.values()) for row in found["rows"]]
        console.table("Labels without pixels", tuple(found["rows"][0]), rows)
