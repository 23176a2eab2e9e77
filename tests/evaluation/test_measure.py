"""One image through codecs and evaluators; averages that hide nothing; the bench."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deepsic.errors import InputError, StorageError, UsageError
from deepsic.evaluation import bench
from deepsic.evaluation.baselines.jpeg import Jpeg
from deepsic.evaluation.evaluators import (
    ClassifierEvaluator,
    DetectorEvaluator,
    Evaluator,
    find_evaluators,
)
from deepsic.evaluation.measure import Measurement, MeasurementPlan, Subject, measure
from deepsic.evaluation.summary import summarise


class Mean(Evaluator):
    """Sees an image's mean as its class."""

    def __init__(self) -> None:
        super().__init__("mean")

    def look(self, images: Sequence[np.ndarray]) -> list[dict[str, Any]]:
        return [{"top": [int(picture.mean()) // 4, 1, 2, 3, 4]} for picture in images]


class Fussy(Jpeg):
    """A JPEG that refuses dark images."""

    name = "fussy"

    def encode(self, image: Image.Image, knob: float) -> bytes:
        if np.asarray(image).mean() < 100:
            raise OSError("too dark")
        return super().encode(image, knob)


def subject(name: str, level: int = 150, seed: int = 0) -> Subject:
    y, x = np.mgrid[:96, :112]
    noise = np.random.default_rng(seed).normal(0, 5, (96, 112, 3))
    plain = level + 60 * np.sin(x / 9)[..., None] * np.cos(y / 13)[..., None] + noise
    return Subject(name=name, rgb=np.clip(plain, 0, 255).astype(np.uint8), label=level // 4)


PLAN = MeasurementPlan(bpp=(1.0, 2.0), ladder=True)


def test_rows_of_one_image() -> None:
    rows = measure(subject("a"), [Jpeg()], PLAN, [Mean()])
    kinds = [row.kind for row in rows]
    assert kinds == ["original", *["ladder"] * len(Jpeg.ladder), "target", "target"]
    assert rows[0].seen["mean"]["top"][0] == 150 // 4
    for row in rows[1:]:
        assert row.bpp == pytest.approx(8 * row.bytes / (96 * 112))
        assert row.psnr_rgb is not None
        assert row.ms_ssim_rgb is None  # too small an image
    assert all(abs(row.off) <= 0.02 for row in rows if row.kind == "target")
    assert all(row.seen for row in rows if row.kind == "target")
    assert all(Measurement(**json.loads(json.dumps(row.line()))) == row for row in rows)


def test_a_refusal_is_counted_and_its_image_left_out_for_all() -> None:
    rows = [
        row
        for name, level in (("a", 150), ("b", 150), ("dark", 70))
        for row in measure(subject(name, level), [Jpeg(), Fussy()], PLAN, [Mean()])
    ]
    found = summarise(rows)
    assert found.left_out == {"dark": "fussy failed on it"}
    assert "too dark" in found.failures["dark, fussy"]
    assert {point.pictures for point in found.points} == {2}
    assert {point.failed for point in found.of("fussy", "target")} == {1}
    # Both are the same codec on the images left.
    assert found.bd_rates("jpeg", "psnr_rgb")["fussy"] == pytest.approx(0, abs=1e-9)


def test_a_codec_that_fails_on_most_is_left_out_itself() -> None:
    rows = [
        row
        for name, level in (("a", 70), ("b", 70), ("light", 150))
        for row in measure(subject(name, level), [Jpeg(), Fussy()], PLAN)
    ]
    found = summarise(rows)
    assert found.left_out == {"fussy": "failed on 2 of 3 images"}
    assert found.codecs() == ["jpeg"]
    assert {point.pictures for point in found.points} == {3}


def test_accuracy_and_agreement_need_labels_and_originals() -> None:
    rows = [
        row for s in range(3) for row in measure(subject(str(s), 150, s), [Jpeg()], PLAN, [Mean()])
    ]
    found = summarise(rows)
    original = found.of("uncompressed", "original")[0]
    assert original.accuracy["mean"].top1 == 1.0
    assert original.agreement["mean"] == 1.0
    target = found.of("jpeg", "target")[-1]
    assert target.setting == 2.0
    assert target.agreement["mean"] == target.accuracy["mean"].top1


def test_part_of_the_codecs_may_come_later() -> None:
    rows = measure(
        subject("a"), [Jpeg()], MeasurementPlan(bpp=(1.0,), every=3), [Mean()], original=False
    )
    assert [row.kind for row in rows] == ["ladder"] * len(Jpeg.ladder[::3]) + ["target"]
    assert rows[-1].seen["mean"]["top"]


def test_files_off_their_target_are_counted() -> None:
    rows = measure(subject("a"), [Jpeg()], MeasurementPlan(bpp=(0.01,), ladder=False))
    point = summarise(rows).of("jpeg", "target")[0]
    assert point.off == 1
    assert point.bpp > 0.01


@pytest.mark.parametrize(
    "plan", [{"bpp": (0.0,)}, {"bpp": (), "ladder": False}, {"tolerance": 0.0}, {"every": 0}]
)
def test_bad_plans_are_named(plan: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        MeasurementPlan(**plan)


def test_networks_that_do_not_load_are_named(tmp_path: Path) -> None:
    found, missing = find_evaluators(
        [
            ClassifierEvaluator("squeezenet", str(tmp_path / "none.pth")),
            DetectorEvaluator("fastestdet"),
        ]
    )
    assert found == []
    assert set(missing) == {"squeezenet", "fastestdet"}


def test_bench_tells_what_it_skipped(tmp_path: Path) -> None:
    Image.fromarray(subject("a").rgb).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"not an image")
    report = bench.run(
        [tmp_path / "a.png", tmp_path / "b.png"],
        model=str(tmp_path / "none.safetensors"),
        output=tmp_path / "out" / "bench.jsonl",
        baselines=("jpeg", "webp"),
    )
    text = str(report)
    assert "JPEG " in text
    assert "WebP" in text
    assert f"skipped {tmp_path / 'b.png'}" in text
    assert "no sic:" in text
    text = (tmp_path / "out" / "bench.jsonl").read_text("utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    assert lines[0]["kind"] == "run"
    assert {"command", "commit", "machine", "date"} <= lines[0].keys()
    assert len(lines) == 2 + 2 * len(Jpeg.ladder[::2])


def test_bench_of_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no image"):
        bench.run([], baselines=("jpeg",))
    Image.fromarray(subject("a").rgb).save(tmp_path / "a.png")
    with pytest.raises(StorageError):
        bench.run(
            [tmp_path / "a.png"], baselines=("jpeg",), model=str(tmp_path / "none.safetensors"),
            output=tmp_path / "a.png" / "x.jsonl",
        )  # fmt: skip
