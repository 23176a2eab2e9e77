"""Sets of training images as uint8: in memory, or memory-mapped from a file.

A memory-mapped set is two files: PATH, the pixels of all images one after the other, and
PATH.index.npz, where each begins, its size, weight and label. The index is written last: where it
is, the set is whole. Processes of one machine that map the same file share its pages.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from deepsic import atomic
from deepsic.errors import InputError, UsageError

__all__ = [
    "Entry",
    "ImageSet",
    "JoinedImages",
    "MappedImages",
    "MemoryImages",
    "Pixels",
    "Subset",
    "fingerprint",
    "middle",
    "spread",
]

Pixels = NDArray[np.uint8]


class ImageSet(Protocol):
    """Images by number, 0 to len - 1."""

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(N, 2) height and width of each image, pixels."""

    @property
    def weights(self) -> NDArray[np.float64]:
        """(N,) how many times an epoch draws each image; not negative."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) number of each image's class, -1 for none."""

    def __len__(self) -> int: ...

    def image(self, index: int) -> Pixels:
        """(H, W, 3) uint8; a view where possible, not to be written to."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One image on its way into a set."""

    pixels: Pixels
    """(H, W, 3)."""
    weight: float = 1.0
    label: int = -1
    tag: int = 0
    """Below 2^64; what is made of one file shares it."""


class MemoryImages:
    """Images that lie in memory.

    Args:
        images: (H, W, 3) uint8 each.
        weights: times an epoch; all 1 if not given.
        labels: class numbers; all -1 if not given.

    Raises:
        UsageError: weights or labels are not as many as images, or a weight is negative.
    """

    def __init__(
        self,
        images: Sequence[Pixels],
        weights: Sequence[float] | None = None,
        labels: Sequence[int] | None = None,
    ) -> None:
        self._images = images
        self.sizes = np.array([image.shape[:2] for image in images], np.int64).reshape(-1, 2)
        self.weights = _weights(np.ones(len(images)) if weights is None else weights, len(images))
        self.labels = _labels(np.full(len(images), -1) if labels is None else labels, len(images))

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> MemoryImages:
        """A set of all entries."""
        kept = list(entries)
        return cls(
            [entry.pixels for entry in kept],
            [entry.weight for entry in kept],
            [entry.label for entry in kept],
        )

    def __len__(self) -> int:
        return len(self._images)

    def image(self, index: int) -> Pixels:
        """(H, W, 3) uint8."""
        return self._images[index]


class MappedImages:
    """Images in a memory-mapped file that `write` made.

    Raises:
        InputError: no such set, or its file is shorter than its index says.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with np.load(_index_path(path), allow_pickle=False) as index:
                self._starts, self.sizes = index["starts"], index["sizes"]
                self.weights = _weights(index["weights"], len(self._starts))
                self.labels = _labels(index["labels"], len(self._starts))
                self.tags: NDArray[np.uint64] = index["tags"]
            held = path.stat().st_size
        except FileNotFoundError:
            raise InputError(f"{path}: no memory-mapped images; make them again") from None
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(
                f"{_index_path(path)} can't be read ({error}); delete it and {path.name}, "
                "and make them again"
            ) from None
        needed = int(self._starts[-1] + self.sizes[-1].prod() * 3) if len(self) else 0
        if held != needed:
            raise InputError(
                f"{path} has {held} bytes, its index says {needed}; delete both and make them again"
            )
        self._bytes: Pixels = np.memmap(path, np.uint8, "r") if needed else np.zeros(0, np.uint8)

    @classmethod
    def write(cls, path: Path, entries: Iterable[Entry]) -> MappedImages:
        """Write entries as they come, without holding them all, and open the set.

        Raises: as `atomic.writing`.
        """
        index = _index_path(path)
        with atomic.writing(path) as file:
            columns = _write_pixels(file, entries)
            index.unlink(missing_ok=True)  # of a set that was there before
        with atomic.writing(index) as file:
            np.savez(file, **columns)
        return cls(path)

    def __len__(self) -> int:
        return len(self._starts)

    def __reduce__(self) -> tuple[type[MappedImages], tuple[Path]]:
        return type(self), (self.path,)  # another process maps the file, instead of a copy of it

    def image(self, index: int) -> Pixels:
        """(H, W, 3) uint8, a read-only view of the file."""
        height, width = self.sizes[index].tolist()
        start = int(self._starts[index])
        return self._bytes[start : start + height * width * 3].reshape(height, width, 3)


class JoinedImages:
    """Several sets as one, in their order.

    Args:
        sets: at least one.
        weights: factor on the weights of each set's images; 1 if not given.
    """

    def __init__(self, sets: Sequence[ImageSet], weights: Sequence[float] | None = None) -> None:
        self._sets = sets
        self._ends = np.cumsum([len(images) for images in sets])
        factors = [1.0] * len(sets) if weights is None else weights
        self.weights = np.concatenate(
            [images.weights * factor for images, factor in zip(sets, factors, strict=True)]
        )
        self.sizes = np.concatenate([images.sizes for images in sets])
        self.labels = np.concatenate([images.labels for images in sets])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def image(self, index: int) -> Pixels:
        """(H, W, 3) uint8."""
        number = int(np.searchsorted(self._ends, index, side="right"))
        return self._sets[number].image(int(index - self._ends[number] + len(self._sets[number])))


class Subset:
    """Some images of a set, in the order of `rows`.

    Args:
        rows: numbers in `images`.
        weights, labels: in place of the set's own, one for each row.
    """

    def __init__(
        self,
        images: ImageSet,
        rows: Sequence[int] | NDArray[np.int64],
        *,
        weights: NDArray[np.float64] | None = None,
        labels: NDArray[np.int64] | None = None,
    ) -> None:
        self._images = images
        self._rows = np.asarray(rows, np.int64)
        self.sizes = images.sizes[self._rows]
        own = images.weights[self._rows] if weights is None else weights
        self.weights = _weights(own, len(self._rows))
        self.labels = _labels(
            images.labels[self._rows] if labels is None else labels, len(self._rows)
        )

    def __len__(self) -> int:
        return len(self._rows)

    def image(self, index: int) -> Pixels:
        """(H, W, 3) uint8."""
        return self._images.image(int(self._rows[index]))


def fingerprint(images: ImageSet) -> str:
    """Sixteen hex digits of all sizes, weights and labels, in order: the same set or another."""
    digest = hashlib.sha256()
    for array in (images.sizes, images.weights, images.labels):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def spread(labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Up to `count` rows spread evenly over classes, and over the set within each class.

    Args:
        labels: (N,) class of each row; all the same (such as -1) spreads over the set alone.

    Returns:
        Row numbers in ascending order. No class has two more than another that has rows left.
    """
    rows_of = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    wanted = np.zeros(len(rows_of), np.int64)
    left = min(count, len(labels))
    while left:
        open_classes = [k for k, rows in enumerate(rows_of) if wanted[k] < len(rows)]
        for k in _evenly(len(open_classes), min(left, len(open_classes))):
            wanted[open_classes[k]] += 1
            left -= 1
    chosen = [rows[_evenly(len(rows), int(n))] for rows, n in zip(rows_of, wanted, strict=True)]
    return np.sort(np.concatenate([np.zeros(0, np.int64), *chosen]))


def middle(pixels: Pixels, most: int) -> Pixels:
    """The middle of an image (H, W, 3), each side cut to a multiple of 32 and at most `most`.

    Sides below 32 stay as they are.
    """
    kept = [min(side, most) // 32 * 32 or side for side in pixels.shape[:2]]
    top, left = ((side - keep) // 2 for side, keep in zip(pixels.shape, kept, strict=False))
    return np.ascontiguousarray(pixels[top : top + kept[0], left : left + kept[1]])


def _evenly(total: int, count: int) -> NDArray[np.int64]:
    """`count` of the numbers below `total`, at equal distances."""
    return (np.arange(count, dtype=np.int64) * 2 + 1) * total // max(1, 2 * count)


def _weights(values: Sequence[float] | NDArray[np.float64], count: int) -> NDArray[np.float64]:
    weights = np.asarray(values, np.float64)
    if weights.shape != (count,) or not np.all(np.isfinite(weights)) or np.any(weights < 0):
        raise UsageError(f"weights must be {count} finite numbers, none negative")
    return weights


def _labels(values: Sequence[int] | NDArray[np.int64], count: int) -> NDArray[np.int64]:
    labels = np.asarray(values, np.int64)
    if labels.shape != (count,):
        raise UsageError(f"labels must be {count} numbers")
    return labels


def _write_pixels(file: BinaryIO, entries: Iterable[Entry]) -> dict[str, Any]:
    """Append all pixels; the columns of the index."""
    starts, sizes, weights, labels, tags = [], [], [], [], []
    for entry in entries:
        starts.append(file.tell())
        file.write(np.ascontiguousarray(entry.pixels).data)
        sizes.append(entry.pixels.shape[:2])
        weights.append(entry.weight)
        labels.append(entry.label)
        tags.append(entry.tag)
    return {
        "starts": np.array(starts, np.int64),
        "sizes": np.array(sizes, np.int64).reshape(-1, 2),
        "weights": np.array(weights, np.float64),
        "labels": np.array(labels, np.int64),
        "tags": np.array(tags, np.uint64),
    }


def _index_path(path: Path) -> Path:
    return path.with_name(path.name + ".index.npz")
