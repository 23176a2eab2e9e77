"""Accuracy, macro F1 and agreement on cases worked by hand."""

from __future__ import annotations

import pytest

from deepsic.errors import UsageError
from deepsic.evaluation.metrics.accuracy import Prediction, accuracy, agreement


def says(*tops: int) -> list[Prediction]:
    return [Prediction((top, 900, 901, 902, 7)) for top in tops]


def test_top1_top5_and_macro_f1() -> None:
    found = accuracy(says(1, 1, 2, 3), [1, 2, 2, 7])
    assert found.top1 == 0.5
    assert found.top5 == 0.75  # the last has 7 in fifth place
    # F1: class 1 has 1 of 2 guesses right: 2/3; class 2: 2/3; class 7: 0.
    assert found.macro_f1 == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert found.pictures == 4


def test_guesses_outside_the_sets_classes_cost_only_recall() -> None:
    found = accuracy(says(1, 555, 2, 2), [1, 1, 2, 2])
    assert found.macro_f1 == pytest.approx((2 / 3 + 1) / 2)


def test_no_top5_without_five_classes() -> None:
    assert accuracy([Prediction((1, 2))], [1]).top5 is None


def test_agreement() -> None:
    assert agreement(says(1, 2, 3, 4), says(1, 2, 3, 9)) == 0.75


def test_bad_input_is_named() -> None:
    with pytest.raises(UsageError, match="2 predictions, but 1 labels"):
        accuracy(says(1, 2), [1])
    with pytest.raises(UsageError, match="no image"):
        accuracy([], [])
    with pytest.raises(UsageError):
        agreement(says(1), [])
    with pytest.raises(UsageError):
        agreement([], [])
