"""One self-contained HTML file from the rows of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from deepsic.evaluation.summary import CodecSummaries, ms_ssim_db
from pipelines.report.crops import Wall
from pipelines.report.figures import Series, draw_chart, svg_of
from pipelines.report.published import Published
from pipelines.report.tables import (
    evaluator_tables,
    rate_distortion_table,
    target_table,
)

__all__ = ["CHARTED", "Report", "published_series", "render"]

BPP = "bits per pixel (whole files)"
X_RANGE = (0.0, 2.0)
_MOST_PROBLEMS = 200
_CHARTS = (
    ("psnr_rgb", "PSNR of RGB", "dB"),
    ("ms_ssim_rgb", "MS-SSIM of RGB", "MS-SSIM as -10 log10(1 - x), dB"),
    ("psnr_y", "PSNR of luma", "dB"),
    ("ms_ssim_y", "MS-SSIM of luma", "MS-SSIM as -10 log10(1 - x), dB"),
)
#: Baselines in the large charts beside our own codecs.
CHARTED = ("avif", "webp", "jpeg")
#: Published curves worth ink beside those measured.
_SHOWN = ("bmshj2018-hyperprior", "mbt2018", "vtm", "bpg444", "balle2017", "toderici2017",
          "rippel2017", "mlicpp")  # fmt: skip


@dataclass(kw_only=True)
class Report:
    """All that the page shows."""

    title: str
    lead: str
    summary: CodecSummaries
    anchor: str
    titles: dict[str, str]
    """Codec → name for people, ours first."""
    ours: frozenset[str]
    """Names of our codecs."""
    about: dict[str, str]
    """Provenance of the run."""
    settings: dict[str, str]
    """Codec → its settings."""
    problems: dict[str, str]
    """What is missing, unreadable or left out → why."""
    published: bool = False
    """Whether the images are Kodak's, for which published curves exist."""
    crops: list[Wall] = field(default_factory=list)
    worst: list[Wall] = field(default_factory=list)


def render(report: Report) -> str:
    """The page, as text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    problems = list(report.problems.items())
    if len(problems) > _MOST_PROBLEMS:
        rest = len(problems) - _MOST_PROBLEMS
        problems = [*problems[:_MOST_PROBLEMS], ("...", f"{rest} more, all in results.jsonl")]
    return environment.get_template("report.html.j2").render(
        title=report.title,
        lead=report.lead,
        findings=findings(report),
        ours={report.titles[name] for name in report.ours if name in report.titles},
        charts=_distortion_charts(report),
        published=report.published,
        distortion=rate_distortion_table(report.summary, report.anchor, report.titles),
        evaluator_charts=_evaluator_charts(report),
        evaluators=evaluator_tables(report.summary, report.titles),
        targets=target_table(report.summary, report.titles),
        galleries=[("Side by side at equal size", report.crops),
                   ("Where ours is furthest behind", report.worst)],
        problems=problems,
        about=list(report.about.items()),
        settings=[(report.titles.get(name, name), text) for name, text in report.settings.items()],
    )  # fmt: skip


def findings(report: Report) -> list[str]:
    """What the numbers say of our codecs, in sentences; empty without them."""
    found = []
    base = report.titles.get(report.anchor, report.anchor)
    rates = report.summary.bd_rates(report.anchor, "psnr_rgb")
    for name in sorted(report.ours):
        if name in rates:
            baselines = {c: r for c, r in rates.items() if c not in report.ours}
            better = [report.titles[c] for c, r in baselines.items() if r > rates[name]]
            way = "fewer" if rates[name] < 0 else "more"
            found.append(
                f"{report.titles[name]} needs {abs(rates[name]):.1f} % {way} bytes than {base} at "
                f"equal PSNR; ahead of {', '.join(better) if better else 'no baseline here'}."
            )
    return found


def _distortion_charts(report: Report) -> list[str]:
    charts = []
    for quality, title, unit in _CHARTS:
        series = []
        for codec in report.summary.codecs():
            curve = report.summary.curve(codec, quality)
            if curve is not None:
                series.append(
                    Series(title=report.titles.get(codec, codec), x=curve.bpp, y=curve.quality,
                           ours=codec in report.ours, small=_small(codec, report))
                )  # fmt: skip
        if not series:
            continue
        if report.published:
            series += published_series(quality)
        chart = draw_chart(series, x_label=BPP, y_label=unit, title=title, x_range=X_RANGE)
        charts.append(svg_of(chart))
    return charts


def _small(codec: str, report: Report) -> bool:
    """Whether a codec gets a small chart: in a large one more than a few lines hide each other."""
    return codec not in report.ours and codec not in (*CHARTED, report.anchor)


def published_series(quality: str) -> list[Series]:
    """What others published for Kodak: the few curves that are shown."""
    scale = ms_ssim_db if "ssim" in quality else float
    return [
        Series(title=entry.title, x=entry.curve.bpp, y=[scale(q) for q in entry.curve.quality],
               published=True, small=True)
        for name, entry in Published.load(quality).items()
        if name in _SHOWN
    ]  # fmt: skip


def _evaluator_charts(report: Report) -> list[str]:
    """Accuracy over rate for each classifier; agreement where no labels are known."""
    summary = report.summary
    points = [point for point in summary.points if point.kind == "target"]
    originals = summary.of("uncompressed", "original")
    charts = []
    for evaluator in dict.fromkeys(name for point in points for name in point.agreement):
        labelled = any(evaluator in point.accuracy for point in points)
        series = []
        for codec in summary.codecs():
            own = [point for point in summary.of(codec, "target") if evaluator in point.agreement]
            values = [
                point.accuracy[evaluator].top1 if labelled else point.agreement[evaluator]
                for point in own
            ]
            if own:
                series.append(
                    Series(title=report.titles.get(codec, codec), x=[p.bpp for p in own],
                           y=[100 * value for value in values], ours=codec in report.ours,
                           small=_small(codec, report))
                )  # fmt: skip
        level = None
        if labelled and originals and evaluator in originals[0].accuracy:
            level = ("uncompressed", 100 * originals[0].accuracy[evaluator].top1)
        what = "top-1 accuracy" if labelled else "agreement with the uncompressed image"
        chart = draw_chart(
            series, x_label=BPP, y_label=f"{what}, %", title=f"{evaluator}: {what}", level=level
        )
        charts.append(svg_of(chart))
    return charts
