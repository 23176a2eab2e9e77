"""Sets of training images: in memory, memory-mapped, part of another."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from deepsic.errors import InputError, UsageError
from deepsic.training.data.images import (
    Entry,
    ImageSet,
    JoinedImages,
    MappedImages,
    MemoryImages,
    Pixels,
    Subset,
    fingerprint,
    middle,
    spread,
)

SIZES = [(40, 64), (33, 47), (64, 64), (1, 1)]


def noise(seed: int, height: int, width: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def entries() -> list[Entry]:
    return [
        Entry(pixels=noise(k, *size), weight=k / 2, label=k - 1, tag=2**64 - 1 - k)
        for k, size in enumerate(SIZES)
    ]


def test_a_mapped_set_holds_what_was_written(tmp_path: Path) -> None:
    written = MappedImages.write(tmp_path / "new" / "set.bin", iter(entries()))
    for images in (written, MappedImages(written.path), pickle.loads(pickle.dumps(written))):
        assert images.sizes.tolist() == [list(size) for size in SIZES]
        assert images.weights.tolist() == [0, 0.5, 1, 1.5]
        assert images.labels.tolist() == [-1, 0, 1, 2]
        assert images.tags.tolist() == [2**64 - 1 - k for k in range(4)]
        for k, entry in enumerate(entries()):
            assert np.array_equal(images.image(k), entry.pixels)
        assert not images.image(0).flags.writeable
    assert fingerprint(written) == fingerprint(MemoryImages.of(entries()))
    assert len(pickle.dumps(written)) < 1000


def test_a_set_whose_writing_fails_is_not_there(tmp_path: Path) -> None:
    def broken() -> Iterator[Entry]:
        yield entries()[0]
        raise InputError("the second image is damaged")

    with pytest.raises(InputError, match="second"):
        MappedImages.write(tmp_path / "set.bin", broken())
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="make them again"):
        MappedImages(tmp_path / "set.bin")


@pytest.mark.parametrize("name", ["set.bin", "set.bin.index.npz"])
def test_a_file_cut_short_is_named(tmp_path: Path, name: str) -> None:
    MappedImages.write(tmp_path / "set.bin", entries())
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[:-7])
    with pytest.raises(InputError, match=r"set\.bin.* make them again"):
        MappedImages(tmp_path / "set.bin")


def test_weights_and_labels_must_fit() -> None:
    images = [noise(0, 8, 8), noise(1, 8, 8)]
    for weights in ([1.0], [1.0, -1.0], [1.0, float("nan")]):
        with pytest.raises(UsageError, match="weights"):
            MemoryImages(images, weights)
    with pytest.raises(UsageError, match="labels"):
        MemoryImages(images, labels=[0])


def test_a_subset_is_a_set_of_its_own() -> None:
    whole: ImageSet = MemoryImages.of(entries())
    part: ImageSet = Subset(whole, [3, 0])
    assert len(part) == 2
    assert part.sizes.tolist() == [list(SIZES[3]), list(SIZES[0])]
    assert np.array_equal(part.image(1), whole.image(0))
    assert part.labels.tolist() == [2, -1]
    other = Subset(whole, [3, 0], weights=np.array([7.0, 8]), labels=np.array([5, 6]))
    assert (other.weights.tolist(), other.labels.tolist()) == ([7, 8], [5, 6])
    assert fingerprint(part) != fingerprint(Subset(whole, [0, 3]))


def test_chosen_rows_are_spread_over_classes_and_the_set() -> None:
    labels = np.repeat(np.arange(200), 50)
    chosen = spread(labels, 100)
    assert len(set(labels[chosen].tolist())) == 100
    assert np.bincount(labels[spread(labels, 500)], minlength=200).tolist().count(2) == 100
    uneven = np.array([0] * 90 + [1] * 2 + [2] * 8)
    assert np.bincount(uneven[spread(uneven, 12)]).tolist() == [5, 2, 5]
    without = spread(np.full(1000, -1), 10)
    assert np.diff(without).tolist() == [100] * 9
    assert spread(labels[:3], 10).tolist() == [0, 1, 2]
    assert spread(labels[:0], 10).tolist() == []


def test_joined_sets_are_numbered_through() -> None:
    parts = [MemoryImages.of(entries()[:1]), MemoryImages([]), MemoryImages.of(entries()[1:])]
    joined: ImageSet = JoinedImages(parts, [1.0, 1.0, 0.1])
    assert joined.sizes.tolist() == [list(size) for size in SIZES]
    assert all(np.array_equal(joined.image(k), e.pixels) for k, e in enumerate(entries()))
    assert joined.weights.tolist() == pytest.approx([0, 0.05, 0.1, 0.15])
    assert joined.labels.tolist() == [-1, 0, 1, 2]


def test_the_middle_has_sides_that_the_nets_divide() -> None:
    image = noise(0, 100, 70)
    assert np.array_equal(middle(image, 512), image[2:98, 3:67])
    assert np.array_equal(middle(image, 64), image[18:82, 3:67])
    assert middle(noise(0, 20, 40), 512).shape == (20, 32, 3)
