"""Batches: epochs, ranks, sizes, and resumption, to the byte."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable

import numpy as np
import pytest
import torch

from deepsic.errors import InputError, UsageError
from deepsic.training.data.batches import Batch, Batches, Prefetched
from deepsic.training.data.crops import CropSize
from deepsic.training.data.images import MemoryImages, Pixels

SMALL, LARGE = CropSize(side=32, batch=8, share=3), CropSize(side=64, batch=2, share=1)


def numbered(count: int, side: int = 64, weights: list[float] | None = None) -> MemoryImages:
    """Images with their number in every pixel, and as their label."""
    images = [np.full((side, side + 8, 3), number, np.uint8) for number in range(count)]
    return MemoryImages(images, weights, list(range(count)))


def gradient(height: int, width: int) -> Pixels:
    """Each pixel says where it is."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.zeros_like(rows)], -1).astype(np.uint8)


def take(batches: Iterable[Batch], steps: int) -> list[Batch]:
    return list(itertools.islice(batches, steps))


def seen(batches: Iterable[Batch]) -> list[int]:
    return [int(label) for batch in batches for label in batch.labels]


def same(one: Iterable[Batch], other: Iterable[Batch]) -> bool:
    return all(
        torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels)
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("world", [1, 3])
def test_ranks_together_draw_each_image_once_an_epoch(world: int) -> None:
    images = numbered(48)
    ranks = [Batches(images, [LARGE], seed=5, rank=r, world=world) for r in range(world)]
    steps = 48 // (2 * world)
    orders = []
    for epoch in range(3):
        drawn = [seen(take(rank, steps)) for rank in ranks]
        assert sorted(itertools.chain(*drawn)) == list(range(48))
        assert {rank.epoch for rank in ranks} == {epoch}
        orders.append(drawn)
    assert orders[0] != orders[1]
    ranks[0].plan()
    assert ranks[0].epoch == 3


def test_weights_are_times_an_epoch() -> None:
    batches = Batches(numbered(4, weights=[1, 0.25, 2.5, 0]), [LARGE], seed=1)
    while batches.epoch < 8:
        batches.plan()
    fresh = Batches(numbered(4, weights=[1, 0.25, 2.5, 0]), [LARGE], seed=1)
    assert Counter(seen(take(fresh, 15))) == {0: 8, 1: 2, 2: 20}


def test_crops_are_parts_of_their_image_in_all_orientations() -> None:
    images = MemoryImages([gradient(50, 70)])
    shapes = set()
    for batch in take(Batches(images, [SMALL], seed=0), 12):
        assert batch.images.dtype == torch.uint8
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        for rows, columns, _ in batch.images.numpy().astype(int):
            upright = bool(np.ptp(rows[:, 0]))
            down, across = (rows, columns) if upright else (rows.T, columns.T)
            assert np.array_equal(down, down[:1, :1] + np.arange(32)[:, None] + 0 * down)
            turn = across[0, 1] - across[0, 0]
            assert np.array_equal(across, across[:1, :1] + turn * np.arange(32)[None] + 0 * across)
            shapes.add((upright, int(turn)))
    assert shapes == {(True, 1), (True, -1), (False, 1), (False, -1)}


def test_no_seed_and_rank_share_crops() -> None:
    images = MemoryImages([np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)])
    crops = Counter(
        crop.numpy().tobytes()
        for seed in range(9)
        for rank in range(8)
        for batch in take(Batches(images, [LARGE], seed=seed, rank=rank, world=8), 3)
        for crop in batch.images
    )
    assert len(crops) == 9 * 8 * 3 * 2
    assert max(crops.values()) == 1


def test_every_short_run_has_the_shares() -> None:
    batches = Batches(numbered(30), [LARGE, SMALL], seed=0)
    sides = [batch.images.shape[2:] for batch in take(batches, 400)]
    for start in range(0, 390, 7):
        assert 2 <= sides[start : start + 8].count((64, 64)) <= 2
    assert {tuple(batch.images.shape) for batch in take(batches, 8)} == {
        (8, 3, 32, 32),
        (2, 3, 64, 64),
    }


def test_images_too_small_for_a_size_are_drawn_at_another() -> None:
    sizes = [CropSize(side=32, batch=4, share=1), CropSize(side=64, batch=4, share=3)]
    pixels = [np.full((40 if k % 2 else 80, 80, 3), k, np.uint8) for k in range(40)]
    batches = Batches(MemoryImages(pixels, labels=list(range(40))), sizes, seed=0)
    drawn: Counter[int] = Counter()
    while batches.epoch < 10:
        batch = next(batches)
        if batch.images.shape[-1] == 64:
            assert all(label % 2 == 0 for label in batch.labels.tolist())
        drawn.update(batch.labels.tolist())
    assert set(drawn) == set(range(40))
    # Up to two steps' worth of small ones wait; nothing else may be missing or drawn twice.
    assert 400 - 8 - 4 <= sum(drawn.values()) <= 400 + 4
    assert max(drawn.values()) <= 11


def test_images_below_the_smallest_size_are_mirrored_up_to_it() -> None:
    batches = Batches(MemoryImages([gradient(20, 40), gradient(32, 32)]), [SMALL], seed=0)
    assert batches.padded == 1
    found = {int(crop.max()) for batch in take(batches, 4) for crop in batch.images}
    assert found <= set(range(31, 40))
    assert len(found) > 3


def test_what_cannot_be_drawn_is_an_error() -> None:
    with pytest.raises(InputError, match=r"none of 4 images has both sides >= 128 .* has 64"):
        Batches(numbered(4), [SMALL, CropSize(side=128, batch=1)], seed=0)
    for images in (MemoryImages([]), numbered(2, weights=[0, 0])):
        with pytest.raises(InputError, match="no image"):
            Batches(images, [SMALL], seed=0)
    for wrong in ({"side": 48}, {"batch": 0}, {"share": 0.0}, {"share": float("nan")}):
        with pytest.raises(UsageError, match="must be"):
            CropSize(**{"side": 32, "batch": 1} | wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="rank 2 of 2"):
        Batches(numbered(2), [SMALL], seed=0, rank=2, world=2)


def test_a_saved_position_goes_on_to_the_byte() -> None:
    images, sizes = numbered(30, weights=[0.7] * 30), [SMALL, LARGE]
    whole = Batches(images, sizes, seed=3, rank=1, world=2)
    take(whole, 13)
    state = json.loads(json.dumps(whole.state_dict()))
    of_rank_0 = Batches(images, sizes, seed=3, rank=0, world=2)
    take(of_rank_0, 13)
    assert of_rank_0.state_dict() == whole.state_dict()
    resumed = Batches(images, sizes, seed=3, rank=1, world=2)
    resumed.load_state_dict(state)
    assert same(take(resumed, 20), take(whole, 20))


def test_a_position_serves_another_number_of_ranks() -> None:
    two = Batches(numbered(48), [LARGE], seed=0, rank=0, world=2)
    before = [two.plan().rows for _ in range(6)]
    three = [Batches(numbered(48), [LARGE], seed=0, rank=r, world=3) for r in range(3)]
    for rank in three:
        rank.load_state_dict(two.state_dict())
    after = [rank.plan().rows for _ in range(4) for rank in three]
    assert len(set(itertools.chain(*after))) == 24
    assert not set(itertools.chain(*before)) & set(itertools.chain(*after))


@pytest.mark.parametrize("other", ["images", "sizes", "seed"])
def test_a_position_in_other_data_is_refused(other: str) -> None:
    state = Batches(numbered(6), [SMALL], seed=0).state_dict()
    changed = Batches(
        numbered(5 if other == "images" else 6),
        [LARGE if other == "sizes" else SMALL],
        seed=int(other == "seed"),
    )
    with pytest.raises(InputError, match=f"checkpoint's {other} .* start a new run"):
        changed.load_state_dict(state)


@pytest.mark.parametrize("threads", [1, 3])
def test_prefetching_changes_no_byte_and_knows_what_was_consumed(threads: int) -> None:
    images, sizes = numbered(30), [SMALL, LARGE]
    plain = Batches(images, sizes, seed=0)
    with Prefetched(Batches(images, sizes, seed=0), depth=5, threads=threads) as ahead:
        assert same(take(ahead, 9), take(plain, 9))
        assert ahead.state_dict() == plain.state_dict()
        assert ahead.epoch == plain.epoch
        state = ahead.state_dict()
        first = take(ahead, 7)
        ahead.load_state_dict(state)
        assert same(take(ahead, 7), first)
    assert same(take(plain, 7), first)


def test_an_error_in_a_thread_reaches_the_loop() -> None:
    class Damaged(MemoryImages):
        def image(self, index: int) -> Pixels:
            raise InputError(f"image {index} is damaged")

    with (
        Prefetched(Batches(Damaged([gradient(32, 32)]), [SMALL], seed=0)) as ahead,
        pytest.raises(InputError, match="image 0 is damaged"),
    ):
        next(ahead)
