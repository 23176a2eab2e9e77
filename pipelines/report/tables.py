"""The tables of the report and of the terminal, as plain cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from deepsic.evaluation.measure import ORIGINAL
from deepsic.evaluation.summary import CodecSummaries, Point

__all__ = ["Table", "evaluator_tables", "rate_distortion_table", "target_table"]

RATES = (0.25, 0.5, 1.0)
NONE = "-"


@dataclass(kw_only=True)
class Table:
    """A caption, a head and rows of text; the first column is a name."""

    caption: str
    head: list[str]
    rows: list[list[str]] = field(default_factory=list)
    note: str = ""

    def filled(self) -> Table:
        """The same without the columns that hold nothing, such as accuracy without labels."""
        empty = [
            all(row[column] == NONE for row in self.rows) if self.rows else False
            for column in range(len(self.head))
        ]

        def kept(cells: list[str]) -> list[str]:
            return [cell for cell, none in zip(cells, empty, strict=True) if not none]

        rows = [kept(row) for row in self.rows]
        return Table(caption=self.caption, head=kept(self.head), rows=rows, note=self.note)


def rate_distortion_table(
    summary: CodecSummaries, anchor: str, titles: dict[str, str]
) -> Table | None:
    """BD-rates against `anchor` and dB at three rates, from the fixed settings; None without."""
    qualities = ("psnr_rgb", "psnr_y", "ms_ssim_rgb")
    rates = {quality: summary.bd_rates(anchor, quality) for quality in qualities}
    if not any(summary.curve(codec, "psnr_rgb") for codec in summary.codecs()):
        return None
    base = titles.get(anchor, anchor)
    made = Table(
        caption=f"Rate at equal quality against {base} (BD-rate, %) and PSNR-RGB at three rates",
        head=["codec", "PSNR-RGB", "PSNR luma", "MS-SSIM", *(f"dB at {r:g} bpp" for r in RATES),
              "encode s", "decode s"],
        note="Means over images at fixed settings; negative is fewer bytes. Seconds: median of "
        "one file on a busy core; see benchmarks/speed/codec_speed.py for speed.",
    )  # fmt: skip
    for codec in summary.codecs():
        curve = summary.curve(codec, "psnr_rgb")
        points = summary.of(codec, "ladder")
        if curve is None:
            continue
        middle = points[len(points) // 2]
        made.rows.append(
            [
                titles.get(codec, codec),
                *(_form(rates[quality].get(codec), "+.1f") for quality in qualities),
                *(_form(curve.quality_at(rate), ".2f") for rate in RATES),
                _form(middle.encode_s, ".3f"),
                _form(middle.decode_s, ".3f"),
            ]
        )
    return made


def target_table(summary: CodecSummaries, titles: dict[str, str]) -> Table | None:
    """What every codec gives at equal size; None if no rate was asked for."""
    points = _by_target(summary)
    if not points:
        return None
    made = Table(
        caption="Every image searched to the same size",
        head=["codec", "asked bpp", "mean bpp", "images", "missed", "failed", "PSNR-RGB",
              "PSNR luma", "SSIM", "MS-SSIM", "MSE"],
        note="missed: files more than 2 % off, because the codec can't make one so small or its "
        "steps are too coarse; its nearest file is counted, at the mean rate given.",
    )  # fmt: skip
    for point in points:
        quality = point.quality
        made.rows.append(
            [
                titles.get(point.codec, point.codec),
                f"{point.setting:g}",
                f"{point.bpp:.3f}",
                str(point.pictures),
                str(point.off),
                str(point.failed),
                _form(quality.get("psnr_rgb"), ".2f"),
                _form(quality.get("psnr_y"), ".2f"),
                _form(quality.get("ssim"), ".4f"),
                _form(quality.get("ms_ssim_rgb"), ".4f"),
                _form(quality.get("mse"), ".1f"),
            ]
        )
    return made


def evaluator_tables(summary: CodecSummaries, titles: dict[str, str]) -> list[Table]:
    """What each classifier and detector makes of the files of equal size."""
    originals = summary.of(ORIGINAL, "original")
    points = [*originals, *_by_target(summary)]
    classifiers = dict.fromkeys(name for point in points for name in point.agreement)
    detectors = dict.fromkeys(name for point in points for name in point.detection)
    return [
        *(_classifier_table(name, points, titles) for name in classifiers),
        *(_detector_table(name, points, titles) for name in detectors),
    ]


def _classifier_table(name: str, points: Sequence[Point], titles: dict[str, str]) -> Table:
    made = Table(
        caption=f"What {name} sees at equal size",
        head=["codec", "asked bpp", "mean bpp", "images", "missed", "right", "top-1 %",
              "top-5 %", "macro F1", "agreement %", "SI, nats"],
        note="agreement: first class as for the uncompressed image.",
    )  # fmt: skip
    for point in points:
        if name not in point.agreement:
            continue
        score = point.accuracy.get(name)
        made.rows.append(
            [
                *_who(point, titles),
                NONE if score is None else str(round(score.top1 * score.pictures)),
                _form(None if score is None else 100 * score.top1, ".1f"),
                _form(None if score is None or score.top5 is None else 100 * score.top5, ".1f"),
                _form(None if score is None else score.macro_f1, ".3f"),
                _form(100 * point.agreement[name], ".1f"),
                _form(point.information.get(name), ".2f"),
            ]
        )
    return made.filled()


def _detector_table(name: str, points: Sequence[Point], titles: dict[str, str]) -> Table:
    made = Table(
        caption=f"What {name} finds at equal size",
        head=["codec", "asked bpp", "mean bpp", "images", "missed", "mAP50 %", "mAP %"],
    )
    for point in points:
        score = point.detection.get(name)
        if score is not None:
            cells = [None if v is None else 100 * v for v in (score.map50, score.map)]
            made.rows.append([*_who(point, titles), *(_form(cell, ".1f") for cell in cells)])
    return made


def _who(point: Point, titles: dict[str, str]) -> list[str]:
    original = point.codec == ORIGINAL
    return [
        titles.get(point.codec, point.codec),
        NONE if original else f"{point.setting:g}",
        NONE if original else f"{point.bpp:.3f}",
        str(point.pictures),
        NONE if original else str(point.off),
    ]


def _by_target(summary: CodecSummaries) -> list[Point]:
    found = [point for point in summary.points if point.kind == "target"]
    order = {codec: index for index, codec in enumerate(summary.codecs())}
    return sorted(found, key=lambda point: (point.setting, order[point.codec]))


def _form(value: float | None, form: str) -> str:
    return NONE if value is None else format(value, form)
