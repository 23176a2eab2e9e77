"""Memory is used again when nobody holds it, and not before."""

from __future__ import annotations

import threading

import numpy as np

from deepsic.coding import scratch


def place(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def test_memory_is_used_again_once_nobody_holds_a_view() -> None:
    first = scratch.empty((500, 500), np.float32)
    view, here = first[3:5], place(first)
    del first
    assert place(scratch.empty((500, 500), np.float32)) != here
    del view
    assert place(scratch.zeros((400, 600), np.float32)) == here


def test_arrays_in_use_never_meet() -> None:
    rng = np.random.default_rng(0)
    held: list[tuple[int, np.ndarray]] = []
    for mark in range(400):
        if held and rng.random() < 0.5:
            expected, array = held.pop(rng.integers(len(held)))
            assert (array == expected).all()
        shape = tuple(int(n) for n in rng.integers(1, 1500, 2))
        held.append((mark, scratch.empty(shape, np.int32)))
        held[-1][1].fill(mark)
    assert all((array == mark).all() for mark, array in held)


def test_threads_keep_their_own_and_little() -> None:
    mine = place(scratch.empty((1 << 20,), np.uint8))
    found: list[int] = []

    def work() -> None:
        found.append(place(scratch.empty((1 << 20,), np.uint8)))
        for size in range(1, 80):
            scratch.empty((size << 20,), np.uint8)
        found.append(sum(map(len, scratch._here.kept)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found[0] != mine
    assert 0 < found[1] <= scratch._MOST
