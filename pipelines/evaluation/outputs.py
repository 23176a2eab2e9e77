"""What an evaluation leaves behind: JSON lines, the HTML report, tables, MLflow."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from deepsic import atomic
from deepsic.errors import DeepsicError
from deepsic.evaluation.baselines import MeasuredCodec
from deepsic.evaluation.baselines.sic import Sic
from deepsic.evaluation.measure import Measurement
from deepsic.evaluation.summary import CodecSummaries
from pipelines.evaluation.settings import Settings
from pipelines.evaluation.sources import ImageRef, read_image
from pipelines.report.crops import Wall, image_wall, worst_images
from pipelines.report.page import Report, render
from pipelines.report.tables import Table, evaluator_tables, rate_distortion_table, target_table
from pipelines.stage import console

__all__ = ["build_report", "numbers", "show_tables", "write_report"]


def build_report(
    settings: Settings,
    images: Sequence[ImageRef],
    rows: Sequence[Measurement],
    summary: CodecSummaries,
    coders: Sequence[MeasuredCodec],
    problems: dict[str, str],
    about: dict[str, str],
) -> Report:
    """Gather what the page shows; codes the few images again that it shows side by side."""
    ours = [coder.name for coder in coders if isinstance(coder, Sic)]
    where = "photographs that scikit-image ships" if settings.source is None else "images"
    measured = len({row.picture for row in rows if row.kind == "original"})
    report = Report(
        title="DeepSIC evaluation",
        lead=f"{measured} {where}, {len(coders)} codecs, every file written whole and decoded "
        "again.",
        summary=summary,
        anchor=settings.anchor,
        titles={coder.name: coder.title for coder in coders},
        ours=frozenset(ours),
        about=about,
        settings={coder.name: coder.settings for coder in coders},
        problems=problems,
        published=_is_kodak(images),
    )
    if settings.plan.bpp and settings.crops:
        _add_walls(report, settings, images, rows, coders, ours)
    return report


def _add_walls(
    report: Report,
    settings: Settings,
    images: Sequence[ImageRef],
    rows: Sequence[Measurement],
    coders: Sequence[MeasuredCodec],
    ours: Sequence[str],
) -> None:
    target = sorted(settings.plan.bpp)[len(settings.plan.bpp) // 2]
    readable = sorted({row.picture for row in rows if row.kind == "original"})
    worst = dict(worst_images(rows, ours, target, settings.crops)) if ours else {}
    if len(readable) <= settings.crops:  # all are shown, the worst first: once is enough
        chosen = {key: worst.get(key, "") for key in (*worst, *readable)}
    else:
        count = settings.crops
        chosen = {readable[i * len(readable) // count]: "" for i in range(count)}
        report.worst = _walls(worst, images, rows, coders, target)
    report.crops = _walls(chosen, images, rows, coders, target)


def _walls(
    chosen: dict[str, str],
    images: Sequence[ImageRef],
    rows: Sequence[Measurement],
    coders: Sequence[MeasuredCodec],
    target: float,
) -> list[Wall]:
    by_key = {ref.key: ref for ref in images}
    walls = []
    for key, note in chosen.items():
        try:
            original = read_image(by_key[key]).rgb
        except DeepsicError:
            continue  # named among the unreadable already
        walls.append(image_wall(key, original, rows, coders, target, note))
    return walls


def write_report(path: Path, report: Report) -> None:
    """Write the page. Raises: `StorageError` when the disk refuses."""
    atomic.write(path, render(report).encode())


def show_tables(report: Report) -> None:
    """The report's tables on the terminal, short."""
    for table in (
        rate_distortion_table(report.summary, report.anchor, report.titles),
        target_table(report.summary, report.titles),
        *evaluator_tables(report.summary, report.titles),
    ):
        if table is not None:
            _show(table)


def _show(table: Table) -> None:
    console.table(table.caption, table.head, table.rows)


def numbers(summary: CodecSummaries, anchor: str) -> dict[str, float]:
    """The summary as flat names and numbers, for MLflow."""
    found: dict[str, float] = {}
    for quality in ("psnr_rgb", "psnr_y", "ms_ssim_rgb"):
        for codec, rate in summary.bd_rates(anchor, quality).items():
            found[f"bd_rate/{quality}/{codec}"] = rate
    for point in summary.points:
        if point.kind == "target":
            prefix = f"{point.codec}/{point.setting:g}bpp"
            found[f"{prefix}/bpp"] = point.bpp
            found |= {f"{prefix}/{name}": value for name, value in point.quality.items()}
        elif point.kind == "original":
            prefix = point.codec
        else:
            continue
        found |= {f"{prefix}/top1/{name}": s.top1 for name, s in point.accuracy.items()}
        found |= {f"{prefix}/agreement/{name}": v for name, v in point.agreement.items()}
        for name, score in point.detection.items():
            if score.map50 is not None:
                found[f"{prefix}/map50/{name}"] = score.map50
    # MLflow's names: letters, digits and _-./ alone.
    return {re.sub(r"[^\w\-./ ]", "_", name): value for name, value in found.items()}


def _is_kodak(images: Sequence[ImageRef]) -> bool:
    """Whether these are the 24 images for which others published averages."""
    names = {Path(ref.key).stem.lower() for ref in images}
    return names == {f"kodim{number:02}" for number in range(1, 25)}
