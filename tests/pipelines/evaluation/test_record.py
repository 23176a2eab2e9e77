"""What a second run into the same folder measures, and what it takes from the first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deepsic.evaluation.baselines.jpeg import Jpeg, ProgressiveJpeg
from deepsic.evaluation.evaluators import ClassifierEvaluator
from deepsic.evaluation.measure import ORIGINAL, Measurement, MeasurementPlan
from pipelines.evaluation.record import MeasurementTask, Record

PLAN = MeasurementPlan(bpp=(0.5, 1.0), ladder=False)


def opened(path: Path, **changes: Any) -> Record:
    settings: dict[str, Any] = {
        "source": "photos", "plan": PLAN, "coders": [Jpeg()], "evaluators": [],
        "about": {"commit": "x"},
    }  # fmt: skip
    return Record.open(path, **(settings | changes))


def rows(image: str, codec: str = "jpeg", rates: tuple[float, ...] = PLAN.bpp) -> list[Measurement]:
    first = Measurement(picture=image, codec=ORIGINAL, kind="original")
    made = [Measurement(picture=image, codec=codec, kind="target", target=rate) for rate in rates]
    return [first, *made]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Results of image a whole, of image b one rate of two, and a line torn by a kill."""
    file = tmp_path / "out" / "results.jsonl"
    record = opened(file)
    record.add(rows("a"))
    record.add(rows("b", rates=(0.5,)))
    with file.open("a") as stream:
        stream.write('{"image": "b", "cod')
    return file


def test_only_what_is_left_is_measured(path: Path) -> None:
    record = opened(path)
    assert list(record.tasks(["a", "b", "c"])) == [
        MeasurementTask(picture="b", codecs=("jpeg",), original=False),
        MeasurementTask(picture="c", codecs=("jpeg",), original=True),
    ]
    record.add(rows("b")[1:])
    assert list(opened(path).tasks(["a", "b"])) == []
    assert [row.codec for row in opened(path).of(["b", "a"])] == [ORIGINAL, "jpeg", "jpeg"] * 2


def test_a_new_codec_is_added_and_an_absent_one_is_kept(path: Path) -> None:
    record = opened(path, coders=[ProgressiveJpeg()])
    assert list(record.tasks(["a"])) == [
        MeasurementTask(picture="a", codecs=("jpeg-progressive",), original=False)
    ]
    assert {row.codec for row in record.of(["a"])} == {ORIGINAL}
    assert list(opened(path).tasks(["a"])) == []


def test_a_codec_that_changed_is_measured_again(path: Path) -> None:
    changed = Jpeg()
    changed.settings = "other tables"
    record = opened(path, coders=[changed])
    assert list(record.tasks(["a"])) == [
        MeasurementTask(picture="a", codecs=("jpeg",), original=False)
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"plan": MeasurementPlan(bpp=(0.5,), ladder=False)},
        {"evaluators": [ClassifierEvaluator("squeezenet")]},
        {"source": "others"},
        {"force": True},
    ],
)
def test_another_contract_starts_over(
    path: Path, changes: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert opened(path, **changes).rows == []
    assert len(path.read_text().splitlines()) == 1
    assert ("starting over" in capsys.readouterr().err) is ("force" not in changes)


def test_failures_are_tried_again(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    record = opened(file)
    failed = Measurement(picture="a", codec="jpeg", kind="target", target=0.5, error="too large")
    record.add([*rows("a", rates=(1.0,)), failed])
    record.add([Measurement(picture="b", codec="", kind="unreadable", error="no image")])
    assert [task.picture for task in opened(file).tasks(["a", "b"])] == ["a", "b"]


def test_a_file_of_something_else_is_started_over(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    file.write_text("no JSON\n" + json.dumps({"kind": "target"}) + "\n")
    assert opened(file).rows == []
