"""Work over threads: once each, in order, errors included."""

from __future__ import annotations

import threading

import pytest

from deepsic import threads


@pytest.fixture(params=[1, 2, 3])
def count(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(threads, "thread_count", lambda: request.param)
    return int(request.param)


@pytest.mark.parametrize("items", range(6))
def test_each_item_is_worked_on_once(count: int, items: int) -> None:
    done: list[int] = []
    lock = threading.Lock()

    def work(item: int) -> int:
        with lock:
            done.append(item)
        return item * item

    assert threads.each(work, range(items)) == [k * k for k in range(items)]
    assert sorted(done) == list(range(items))


def test_strips_are_taken_in_turn(count: int) -> None:
    made, taken = [], []

    def make(top: int, bottom: int) -> tuple[int, int]:
        made.append((top, bottom))
        return top, bottom

    def take(top: int, bottom: int, strip: tuple[int, int]) -> None:
        assert strip == (top, bottom)
        taken.append(strip)

    threads.in_turn(make, take, range(28, 128), count)
    assert [top for top, _ in taken] == [28, *(bottom for _, bottom in taken[:-1])]
    assert taken[-1][1] == 128
    assert sorted(made) == taken


@pytest.mark.parametrize("broken", ["make", "take"])
def test_an_error_in_any_strip_comes_back(count: int, broken: str) -> None:
    def end(name: str, bottom: int) -> None:
        if name == broken and bottom > 48:
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        threads.in_turn(
            lambda top, bottom: end("make", bottom), lambda top, bottom, _: end("take", bottom),
            range(128), count,
        )  # fmt: skip
    assert threads.each(abs, (-1, -2, -3)) == [1, 2, 3]


def test_many_callers_share_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "thread_count", lambda: 2)
    sums = [0] * 8

    def call(k: int) -> None:
        for _ in range(20):
            threads.in_turn(
                lambda top, bottom: bottom - top,
                lambda top, bottom, made: sums.__setitem__(k, sums[k] + made),
                range(160),
                2,
            )

    callers = [threading.Thread(target=call, args=(k,)) for k in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(30)
    assert sums == [3200] * 8
