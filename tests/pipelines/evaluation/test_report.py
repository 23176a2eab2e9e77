"""The HTML report: self-contained, complete, legible; published curves marked as such."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from deepsic.errors import UsageError
from deepsic.evaluation.baselines import MeasuredCodec, find_codecs
from deepsic.evaluation.measure import MeasurementPlan, Subject, measure
from deepsic.evaluation.summary import summarise
from pipelines.report.crops import busiest_corner, image_wall, worst_images
from pipelines.report.figures import Series, _apart, draw_chart, svg_of
from pipelines.report.page import Report, render
from pipelines.report.published import QUALITIES, Published
from pipelines.report.tables import Table


def image(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:200, :240]
    plain = 128 + 60 * np.sin(x / (5 + seed))[..., None] * np.cos(y / 17)[..., None]
    plain = plain + random.normal(0, 3, (200, 240, 3))
    return np.clip(plain, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def coders() -> list[MeasuredCodec]:
    return find_codecs(["jpeg", "webp"])[0]


@pytest.fixture(scope="module")
def report(coders: list[MeasuredCodec]) -> Report:
    rows = [
        row
        for seed in (1, 2)
        for row in measure(
            Subject(name=f"p{seed}", rgb=image(seed)), coders, MeasurementPlan(bpp=(0.5, 1.0))
        )
    ]
    summary = summarise(rows)
    walls = [image_wall("p1", image(1), rows, coders, 1.0, "")]
    return Report(
        title="Test & report",
        lead="Two images.",
        summary=summary,
        anchor="jpeg",
        titles={coder.name: coder.title for coder in coders},
        ours=frozenset({"webp"}),
        about={"commit": "abc"},
        settings={coder.name: coder.settings for coder in coders},
        problems={"x.png": "<script>alert(1)</script>"},
        published=True,
        crops=walls,
    )


def test_the_page_needs_nothing_else(report: Report) -> None:
    page = render(report)
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page.replace("xlink:href", "href"))
    assert "@import" not in page
    assert page.count("<svg") == 4
    assert "data:image/png;base64," in page


def test_text_is_escaped_and_problems_are_told(report: Report) -> None:
    page = render(report)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "Test &amp; report" in page


def test_our_codec_and_its_rivals_are_compared(report: Report) -> None:
    page = render(report)
    assert re.search(r"WebP needs \d+\.\d % (fewer|more) bytes than JPEG", page)
    assert 'class="ours' in page


def test_published_curves_are_marked() -> None:
    line = Series(title="measured", x=[0.1, 0.5, 1.0], y=[28.0, 32.0, 35.0])
    other = Series(title="VTM", x=[0.1, 0.5, 1.0], y=[29.0, 33.0, 36.0], published=True)
    svg = svg_of(draw_chart([line, other], x_label="bpp", y_label="dB", title="t", x_range=(0, 2)))
    ElementTree.fromstring(svg)
    assert "VTM (published)" in svg
    assert "stroke-dasharray" in svg


def test_names_stand_at_their_lines_and_other_codecs_in_small_charts() -> None:
    lines = [
        Series(title="ours", x=[0.1, 1.0, 1.8], y=[28.0, 35.0, 40.0], ours=True),
        Series(title="baseline", x=[0.1, 0.8, 1.2], y=[27.0, 33.0, 36.0]),
        Series(title="other", x=[0.1, 1.0], y=[26.0, 33.0], small=True),
    ]
    figure = draw_chart(lines, x_label="bpp", y_label="dB", title="t")
    large, small = figure.axes
    assert [text.get_text() for text in large.texts] == ["baseline", "ours"]
    ends = [line.get_xdata()[-1] for line in large.lines]
    assert ends == [1.2, 1.2]  # cut where the first line ends, by interpolation
    assert large.lines[0].get_ydata()[-1] == pytest.approx(36.25)
    for text in large.texts:
        assert text.xy[0] == 1.2
    assert small.get_title(loc="left") == "other"
    assert len(small.lines) == 2  # over the first of ours
    assert small.get_xlim() == large.get_xlim()


def test_labels_keep_apart_and_stay_inside() -> None:
    placed = _apart([0.9, 0.95, 0.96, 0.97, 0.98], gap=0.05)
    gaps = np.diff(placed)
    assert (gaps >= 0.05 - 1e-9).all()
    assert max(placed) <= 1.0


@pytest.mark.parametrize("quality", QUALITIES)
def test_published_curves_load(quality: str) -> None:
    curves = Published.load(quality)
    assert len(curves) >= 4
    assert all(len(entry.curve.bpp) >= 4 for entry in curves.values())


def test_unknown_published_quality_is_named() -> None:
    with pytest.raises(UsageError, match="no published 'vmaf'"):
        Published.load("vmaf")


def test_the_busiest_corner_is_where_detail_is() -> None:
    rgb = np.full((400, 500, 3), 100, np.uint8)
    rgb[192:384, 288:480] = np.random.default_rng(0).integers(0, 255, (192, 192, 3), np.uint8)
    assert busiest_corner(rgb) == (288, 192)


def test_worst_images_are_those_furthest_behind(coders: list[MeasuredCodec]) -> None:
    rows = [
        row
        for seed in (1, 2, 9)
        for row in measure(
            Subject(name=f"p{seed}", rgb=image(seed)),
            coders,
            MeasurementPlan(bpp=(1.0,), ladder=False),
        )
    ]
    found = worst_images(rows, ["jpeg"], 1.0, 3)
    gaps = [float(note.split()[0]) for _, note in found]
    assert gaps == sorted(gaps)
    assert "webp, the best baseline" in found[0][1]
    alone = worst_images(rows, ["jpeg", "webp"], 1.0, 3)  # no baseline left: plain dB
    assert all(note.endswith(" dB") for _, note in alone)


def test_columns_that_hold_nothing_are_left_out() -> None:
    table = Table(caption="c", head=["codec", "top-1 %", "agreement %"], rows=[["a", "-", "9.0"]])
    assert table.filled().head == ["codec", "agreement %"]
    assert table.filled().rows == [["a", "9.0"]]
    assert Table(caption="c", head=["codec"]).filled().head == ["codec"]
