"""mAP50 of matched objects: torchmetrics' figure, its interval, and what the sets annotate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.saic.detection import samples_of
from benchmarks.saic.matches import MatchedObjects, draws, interval, map50, match
from deepsic.evaluation.metrics.detection import Boxes, detection
from deepsic.tasks.detector import COCO_CLASSES

_CLASSES = 4


def _made(seed: int, images: int = 30) -> tuple[list[Boxes], list[Boxes]]:
    """Found and true objects: most true ones found, off by some pixels, and some false ones."""
    rng = np.random.default_rng(seed)
    found, true = [], []
    for _ in range(images):
        count = int(rng.integers(0, 6))
        corner = rng.uniform(0, 200, (count, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(20, 80, (count, 2))], 1)
        labels = rng.integers(0, _CLASSES, count)
        extra = np.array([[0, 0, 50, 50], [30, 30, 90, 90]], float)
        off = np.concatenate([boxes + rng.normal(0, 9, boxes.shape), extra])
        kinds = np.concatenate([labels, rng.integers(0, _CLASSES, 2)])
        scores = rng.permutation(len(off)) / 10 + rng.uniform(0, 0.1)
        found.append(Boxes(boxes=off.tolist(), labels=kinds.tolist(), scores=(scores / 2).tolist()))
        true.append(Boxes(boxes=boxes.tolist(), labels=labels.tolist()))
    return found, true


@pytest.mark.parametrize("seed", range(3))
def test_is_the_figure_of_torchmetrics(seed: int) -> None:
    found, true = _made(seed)
    matches = match(found, true, [range(_CLASSES)] * len(true), _CLASSES)
    expected = detection(found, true).map50
    assert map50(matches, np.ones((1, len(true))))[0] == pytest.approx(expected, abs=1e-4)


def test_a_weight_of_two_is_an_image_twice() -> None:
    found, true = _made(5)
    known = [range(_CLASSES)] * len(true)
    weights = np.ones((1, len(true)))
    weights[0, :7] = 2
    weights[0, 20:] = 0
    drawn = [*range(20), *range(7)]
    again = match([found[k] for k in drawn], [true[k] for k in drawn], known[:27], _CLASSES)
    once = match(found, true, known, _CLASSES)
    assert map50(once, weights)[0] == pytest.approx(map50(again, np.ones((1, 27)))[0], abs=5e-3)


def test_objects_of_classes_that_are_not_annotated_do_not_count() -> None:
    true = [Boxes(boxes=[[0, 0, 9, 9]], labels=[1])]
    found = [Boxes(boxes=[[0, 0, 9, 9], [0, 0, 9, 9]], labels=[0, 1], scores=[0.9, 0.5])]
    matches = match(found, true, [{1}], _CLASSES)
    assert matches.labels.tolist() == [1]
    assert map50(matches, np.ones((1, 1)))[0] == pytest.approx(1)


def test_the_interval_holds_the_figure_and_is_paired(tmp_path: Path) -> None:
    found, true = _made(8)
    matches = match(found, true, [range(_CLASSES)] * len(true), _CLASSES)
    matches.save(tmp_path / "one.npz")
    first, again = draws(matches), draws(MatchedObjects.load(tmp_path / "one.npz"))
    made = interval(first)
    assert made.low < made.mean < made.high
    assert interval(first - again).high == 0


def test_sets_of_both_layouts_number_classes_as_coco(tmp_path: Path) -> None:
    for part in ("JPEGImages", "Annotations"):
        (tmp_path / "voc" / part).mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(tmp_path / "voc/JPEGImages/a.jpg")
    (tmp_path / "voc/Annotations/a.xml").write_text(
        "<annotation><object><name>sofa</name><bndbox><xmin>1</xmin><ymin>1</ymin>"
        "<xmax>9</xmax><ymax>9</ymax></bndbox></object></annotation>"
    )
    (sample,), known = samples_of(tmp_path / "voc")
    assert sample.boxes[0].label == COCO_CLASSES.index("couch")
    assert set(known) == {COCO_CLASSES.index("couch")}
    for part in ("images", "labels"):
        (tmp_path / "yolo" / part).mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(tmp_path / "yolo/images/a.jpg")
    _, known = samples_of(tmp_path / "yolo")
    assert len(known) == len(COCO_CLASSES)
