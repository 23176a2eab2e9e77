"""Endless batches of crops that know epochs, mix crop sizes, and go on exactly where they were.

    batches = Batches(images, [CropSize(side=256, batch=8)], seed=0, rank=rank, world=world)
    for batch in Prefetched(batches):
        ...

All ranks walk the same plan and each draws its part of every step, so they are disjoint, and one
state serves them all. Which image comes when follows from (seed, epoch), which part of it is cut
out from (seed, rank, step): no generator runs on from step to step, and none is shared.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepsic.errors import InputError, UsageError
from deepsic.training.data.crops import CropSize
from deepsic.training.data.images import ImageSet, Pixels, fingerprint

__all__ = ["Batch", "Batches", "Plan", "Prefetched"]

_PHASE, _ORDER, _CROPS = range(3)
"""First number of the spawn keys, so that no two uses share a random stream."""
_OVERDUE = 2
"""Steps' worth of small images that may wait before a step is made of them."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one worker's step sees."""

    images: Tensor
    """uint8 (B, 3, side, side), channels last in memory."""
    labels: Tensor
    """int64 (B,) class of each crop's image, -1 for none."""

    def pinned(self) -> Batch:
        """The same in page-locked memory, for copies to a GPU that run beside it."""
        return Batch(images=self.images.pin_memory(), labels=self.labels.pin_memory())


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one worker draws in one step."""

    step: int
    side: int
    rows: tuple[int, ...]
    """Numbers of the images, one a crop."""


class Batches:
    """Batches of crops for one rank; an endless iterator.

    An epoch draws each image as often as its weight says: once for 1, in every other epoch for
    0.5. Sizes take turns so that every short run of steps has their shares. An image that is too
    small for a step's size waits for the next step of a size that it fits; where more wait than
    the shares provide for, steps of their size come more often. Images below the smallest size are
    mirrored at their edges up to it (`padded` counts them).

    Args:
        images: what is drawn from.
        sizes: crop sizes; each rank draws `batch` crops of a size in a step.
        seed: with the other arguments decides every crop.
        rank, world: this worker's number, and how many there are.

    Raises:
        InputError: no image, no weight above 0, or a size larger than every image.
    """

    def __init__(
        self,
        images: ImageSet,
        sizes: Sequence[CropSize],
        *,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if not sizes or not 0 <= rank < world or seed < 0:
            raise UsageError(
                f"{len(sizes)} sizes, rank {rank} of {world}, seed {seed}: out of range"
            )
        self._images, self._seed, self._rank, self._world = images, seed, rank, world
        self._sizes = sorted(sizes, key=lambda size: size.side)
        sides = [size.side for size in self._sizes]
        short = images.sizes.min(axis=1)
        _check_fit(short[images.weights > 0], sides)
        self.padded = int((short < sides[0]).sum())
        """Images below the smallest size."""
        self._fit = np.maximum(np.searchsorted(sides, short, side="right") - 1, 0)
        self._phase = self._stream(_PHASE).integers(1 << 20, size=len(images)) / (1 << 20)
        self._set = fingerprint(images)
        self.epoch = 0
        """Epochs whose images have all been planned."""
        self._position = self._step = 0
        self._order = self._order_of(0)
        self._credit = [0.0] * len(sides)
        self._waiting: list[deque[int]] = [deque() for _ in sides]

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        return self.draw(self.plan())

    def plan(self) -> Plan:
        """Decide the next step: what `draw` then makes. Cheap; the state moves on here."""
        number = self._next_size()
        size = self._sizes[number]
        rows = self._take(number, size.batch * self._world)
        step, self._step = self._step, self._step + 1
        return Plan(step=step, side=size.side, rows=tuple(rows[self._rank :: self._world]))

    def draw(self, plan: Plan) -> Batch:
        """Cut a plan's crops. Changes nothing here, so several threads may."""
        rng = self._stream(_CROPS, self._rank, plan.step)
        out = np.empty((len(plan.rows), plan.side, plan.side, 3), np.uint8)
        for crop, row in zip(_whole_pixels(out), plan.rows, strict=True):
            crop[:] = _crop(
                _whole_pixels(_padded(self._images.image(row), plan.side)), plan.side, rng
            )
        labels = self._images.labels[np.array(plan.rows, np.int64)]
        return Batch(
            images=torch.from_numpy(out).permute(0, 3, 1, 2), labels=torch.from_numpy(labels)
        )

    def state_dict(self) -> dict[str, Any]:
        """The position, the same on every rank; plain numbers, strings and lists."""
        return {
            "made_of": self._made_of(),
            "epoch": self.epoch,
            "position": self._position,
            "step": self._step,
            "credit": list(self._credit),
            "waiting": [list(rows) for rows in self._waiting],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state, of any rank, and of any number of ranks.

        Raises:
            InputError: the state is of other images, sizes or another seed.
        """
        for name, value in self._made_of().items():
            if state["made_of"][name] != value:
                raise InputError(
                    f"the checkpoint's {name} ({state['made_of'][name]}) are not those of this run "
                    f"({value}): give back what it was trained with, or start a new run"
                )
        self.epoch, self._position = state["epoch"], state["position"]
        self._step, self._credit = state["step"], list(state["credit"])
        self._waiting = [deque(rows) for rows in state["waiting"]]
        self._order = self._order_of(self.epoch)

    def _made_of(self) -> dict[str, Any]:
        sizes = [asdict(size) for size in self._sizes]
        return {"images": self._set, "sizes": sizes, "seed": self._seed}

    def _next_size(self) -> int:
        """Number of the size whose turn it is, by the largest remainder."""
        shares = np.array([size.share for size in self._sizes])
        self._credit = (np.array(self._credit) + shares / shares.sum()).tolist()
        waits = [
            len(rows) / (size.batch * self._world)
            for rows, size in zip(self._waiting, self._sizes, strict=True)
        ]
        by = waits if max(waits) >= _OVERDUE else self._credit
        number = by.index(max(by))
        self._credit[number] -= 1
        return number

    def _take(self, size: int, count: int) -> list[int]:
        """The next `count` images that fit a size: those that waited first."""
        rows: list[int] = []
        for waiting in self._waiting[size:]:
            while waiting and len(rows) < count:
                rows.append(waiting.popleft())
        while len(rows) < count:
            row = self._next_row()
            if self._fit[row] >= size:
                rows.append(row)
            else:
                self._waiting[self._fit[row]].append(row)
        return rows

    def _next_row(self) -> int:
        while self._position >= len(self._order):
            self.epoch, self._position = self.epoch + 1, 0
            self._order = self._order_of(self.epoch)
        self._position += 1
        return int(self._order[self._position - 1])

    def _order_of(self, epoch: int) -> NDArray[np.int64]:
        weights = self._images.weights
        before, after = (np.floor(weights * e + self._phase) for e in (epoch, epoch + 1))
        times = (after - before).astype(np.int64)
        rows = np.repeat(np.arange(len(times), dtype=np.int64), times)
        return self._stream(_ORDER, epoch).permutation(rows)

    def _stream(self, *key: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=key))


class Prefetched:
    """Batches made ahead by threads; `state_dict` is that of what was handed out.

    Args:
        batches: what to run ahead of; not to be used beside this.
        depth: steps to be ahead.
        threads: how many draw at a time.
        pin: hand out pinned memory; needs CUDA.
    """

    def __init__(
        self, batches: Batches, *, depth: int = 4, threads: int = 1, pin: bool = False
    ) -> None:
        self._batches, self._depth, self._pin = batches, depth, pin
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="batches")
        self._ahead: deque[tuple[Future[Batch], dict[str, Any]]] = deque()
        self._state = batches.state_dict()
        self._fill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        future, state = self._ahead.popleft()
        batch = future.result()
        self._state = state
        self._fill()
        return batch

    @property
    def epoch(self) -> int:
        """Epochs whose images have all been planned, as of the batch handed out last."""
        epoch: int = self._state["epoch"]
        return epoch

    @property
    def padded(self) -> int:
        """As `Batches.padded`."""
        return self._batches.padded

    def state_dict(self) -> dict[str, Any]:
        """As `Batches.state_dict`, after the batch that was handed out last."""
        return self._state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Drop what was made ahead and go on from a state. Raises as `Batches.load_state_dict`."""
        self._batches.load_state_dict(state)
        self._drop()
        self._state = self._batches.state_dict()
        self._fill()

    def close(self) -> None:
        """Stop the threads."""
        self._drop()
        self._pool.shutdown()

    def _fill(self) -> None:
        while len(self._ahead) < self._depth:
            plan = self._batches.plan()
            self._ahead.append((self._pool.submit(self._draw, plan), self._batches.state_dict()))

    def _drop(self) -> None:
        for future, _ in self._ahead:
            future.cancel()
        self._ahead.clear()

    def _draw(self, plan: Plan) -> Batch:
        batch = self._batches.draw(plan)
        return batch.pinned() if self._pin else batch


def _crop(pixels: NDArray[np.void], side: int, rng: np.random.Generator) -> NDArray[np.void]:
    """A random square (side, side) of (H, W), mirrored and transposed half the time each."""
    height, width = pixels.shape
    top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    mirror, transpose = rng.random(2) < 0.5
    view = pixels[top : top + side, left : left + side]
    if mirror:
        view = view[:, ::-1]
    return view.T if transpose else view


def _whole_pixels(pixels: Pixels) -> NDArray[np.void]:
    """(..., 3) as (...) of three bytes each: turned twice as fast as byte by byte."""
    return np.ascontiguousarray(pixels).view("V3")[..., 0]


def _padded(pixels: Pixels, side: int) -> Pixels:
    """Mirrored at the lower and right edges where a side is shorter than `side`."""
    height, width = pixels.shape[:2]
    if min(height, width) >= side:
        return pixels
    more = ((0, max(0, side - height)), (0, max(0, side - width)), (0, 0))
    return np.pad(pixels, more, "symmetric")


def _check_fit(short: NDArray[np.int64], sides: Sequence[int]) -> None:
    if not len(short):
        raise InputError("no image to train on, or none with a weight above 0")
    if len(sides) > 1 and short.max() < sides[-1]:
        raise InputError(
            f"none of {len(short)} images has both sides >= {sides[-1]} pixels (the largest has "
            f"{short.max()}): leave out that crop size, or prepare larger images"
        )
