"""Mean average precision on cases worked by hand."""

from __future__ import annotations

import pytest

from deepsic.errors import UsageError
from deepsic.evaluation.metrics.detection import Boxes, detection

TRUE = Boxes(boxes=[[0, 0, 100, 100], [200, 200, 260, 260]], labels=[3, 5])


def test_perfect_boxes_score_one() -> None:
    found = Boxes(boxes=TRUE.boxes, labels=TRUE.labels, scores=[0.9, 0.8])
    score = detection([found], [TRUE])
    assert score.map == pytest.approx(1.0)
    assert score.map50 == pytest.approx(1.0)


def test_half_the_classes_found_scores_a_half() -> None:
    found = Boxes(boxes=[[0, 0, 100, 100]], labels=[3], scores=[0.9])
    assert detection([found], [TRUE]).map50 == pytest.approx(0.5)


def test_a_loose_box_counts_at_half_overlap_alone() -> None:
    found = Boxes(boxes=[[0, 0, 100, 62]], labels=[3], scores=[0.9])
    true = Boxes(boxes=[[0, 0, 100, 100]], labels=[3])
    score = detection([found], [true])
    assert score.map50 == pytest.approx(1.0)
    assert score.map == pytest.approx(0.3)  # thresholds 0.5, 0.55 and 0.6 of ten


def test_only_annotated_classes_count() -> None:
    extra = Boxes(boxes=[*TRUE.boxes, [10, 10, 50, 50]], labels=[3, 5, 7], scores=[0.5, 0.5, 0.99])
    assert detection([extra], [TRUE], classes=[3, 5]).map50 == pytest.approx(1.0)


def test_no_true_object_has_no_score() -> None:
    empty = Boxes(boxes=[], labels=[])
    score = detection([Boxes(boxes=[], labels=[], scores=[])], [empty])
    assert score.map is None
    assert score.map50 is None


def test_bad_input_is_named() -> None:
    with pytest.raises(UsageError, match="no image"):
        detection([], [])
    with pytest.raises(UsageError, match="1 images, but 0"):
        detection([TRUE], [])
    with pytest.raises(UsageError, match="scores"):
        detection([TRUE], [TRUE])
