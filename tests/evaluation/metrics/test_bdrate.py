"""BD-rate against the published table, and on curves whose answer is known."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from deepsic.errors import UsageError
from deepsic.evaluation.metrics.bdrate import Curve, bd_rate
from pipelines.report.published import Published

TABLE = Path(__file__).with_name("published_bdrate.csv")
ANCHORS = {"bd_vs_vtm": "vtm", "bd_vs_bpg444": "bpg444", "bd_vs_jpeg": "jpeg"}


def expected() -> list[tuple[str, str, float]]:
    with TABLE.open(newline="") as file:
        return [
            (row["codec"], column, float(row[column]))
            for row in csv.DictReader(line for line in file if not line.startswith("#"))
            for column in ANCHORS
        ]


@pytest.mark.parametrize(("codec", "column", "value"), expected())
def test_published_curves_give_the_published_table(codec: str, column: str, value: float) -> None:
    curves = Published.load("psnr_rgb")
    found = bd_rate(curves[ANCHORS[column]].curve, curves[codec].curve)
    assert found == pytest.approx(value, abs=0.5)


def line(factor: float = 1.0) -> Curve:
    """6 dB an octave of rate, at `factor` times the rate."""
    rates = [0.125, 0.25, 0.5, 1.0, 1.5]
    return Curve([factor * rate for rate in rates], [40 + 20 * math.log10(rate) for rate in rates])


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.0, 1.3])
def test_a_constant_factor_is_found(factor: float) -> None:
    assert bd_rate(line(), line(factor), rates=None) == pytest.approx(100 * (factor - 1), abs=1e-6)


def test_points_in_any_order_and_points_no_better_are_settled() -> None:
    plain = line()
    mixed = Curve(
        [*reversed(plain.bpp), 0.3, 0.5], [*reversed(plain.quality), plain.quality[0], 10.0]
    )
    assert bd_rate(plain, mixed) == pytest.approx(0, abs=1e-6)


def test_curves_that_share_no_quality_have_no_bd_rate() -> None:
    assert bd_rate(line(), Curve([0.1, 0.2], [60.0, 61.0])) is None
    assert bd_rate(line(), Curve([0.1], [30.0])) is None
    assert bd_rate(line(), Curve([], [])) is None


def test_quality_at_a_rate() -> None:
    assert line().quality_at(0.5) == pytest.approx(40 + 20 * math.log10(0.5))
    assert line().quality_at(0.01) is None


@pytest.mark.parametrize(
    ("bpp", "quality"),
    [([0.1], [30.0, 31.0]), ([0.0, 0.1], [30.0, 31.0]), ([0.1, math.nan], [30.0, 31.0])],
)
def test_bad_curves_are_named(bpp: list[float], quality: list[float]) -> None:
    with pytest.raises(UsageError):
        Curve(bpp, quality)
