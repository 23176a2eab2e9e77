"""Cutting a listing, and a sample of it."""

from __future__ import annotations

from pipelines.archive.commands.estimate import sample
from pipelines.archive.listing.chunks import Chunk, Item, cut
from pipelines.storage import ObjectInfo


def listing(sizes: list[int]) -> list[ObjectInfo]:
    return [ObjectInfo(f"{n:05d}", size, "e") for n, size in enumerate(sizes)]


def test_cut_bounds_items_and_bytes_and_loses_nothing() -> None:
    items = [Item(info) for info in listing([1, 1, 1, 1, 5, 9, 1, 20, 1])]
    pieces = list(cut(items, max_items=3, max_bytes=10))
    assert [item for piece in pieces for item in piece] == items
    assert [len(piece) for piece in pieces] == [3, 2, 2, 1, 1]
    assert list(cut([])) == []


def test_pieces_grow_up_to_the_bound() -> None:
    lengths = [len(piece) for piece in cut(Item(info) for info in listing([1] * 6000))]
    assert lengths[:9] == [16] * 4 + [32] * 4 + [48]
    assert sorted(lengths[:-1]) == lengths[:-1]
    assert max(lengths) == 128
    assert sum(lengths) == 6000


def test_part_names_follow_the_work() -> None:
    items = tuple(Item(info) for info in listing([1, 2, 3]))
    chunk = Chunk(items)
    assert chunk.part("j") == Chunk(items).part("j")
    left, right = chunk.halves()
    assert left.items + right.items == items
    retried = tuple(Item(item.info, 1) for item in items)
    names = {one.part("j") for one in (chunk, left, right, Chunk(retried))}
    names.add(chunk.part("k"))
    assert len(names) == 5


def test_sample_is_bounded_and_counts_all() -> None:
    chosen, objects, size = sample(iter(listing([2] * 1000)), 10)
    assert (len(chosen), objects, size) == (10, 1000, 2000)
    assert len({info.key for info in chosen}) == 10
    assert max(info.key for info in chosen) > "00100"
