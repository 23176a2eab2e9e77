"""Meeting a size, whatever it is: close below it, in few encodings."""

from __future__ import annotations

import sys

import pytest

from deepsic.errors import UsageError
from deepsic.targets import STRETCHES, Goal, smallest_loss


class Sizes:
    """An encoder whose files have so many bytes, and how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, quality: int, zone: float) -> bytes:
        self.asked += 1
        return bytes(40 + round(4000 * 1.05**quality / zone))


@pytest.mark.parametrize("target", [70, 90, 130, 400, 1000, 1700, 3000, 4100, 30_000, 500_000])
def test_one_way_of_searching_lands_close_at_every_scale(target: int) -> None:
    encode = Sizes()
    found = len(smallest_loss(encode, target))
    assert 0.97 * target <= found <= target
    assert encode.asked <= 1 + len(STRETCHES) + 6


def test_less_than_the_smallest_file_is_an_error_that_says_its_size() -> None:
    smallest = len(Sizes()(1, STRETCHES[-1]))
    with pytest.raises(UsageError, match=f"has {smallest} bytes, more than {smallest - 1}"):
        smallest_loss(Sizes(), smallest - 1)


def test_the_largest_file_is_taken_where_all_fit() -> None:
    assert len(smallest_loss(Sizes(), 10**9)) == len(Sizes()(100, 1.0))


def test_a_rate_beyond_all_files_is_a_target_that_every_file_meets() -> None:
    target = Goal(bpp=sys.float_info.max).target(10**8)
    assert target is not None
    assert target > 10**15


@pytest.mark.parametrize("name", ["quality", "bpp", "max_bytes"])
def test_a_truth_value_is_no_target(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name}=True"):
        Goal(**{name: True})
