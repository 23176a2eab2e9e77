"""Random crops from pictures that lie in memory or in memory-mapped arrays as uint8."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepsic.errors import InputError

Picture = NDArray[np.uint8]


class CropSampler:
    """Batches of crops with flips, drawn with a given weight for each picture.

    Args:
        pictures: (H, W, 3) uint8 each, sides of at least `crop`; smaller ones are left out.
        weights: one positive weight each.
        crop: side of the crops, pixels.
        seed: the same seed gives the same crops.
        labels: number of each picture's class, -1 for none; all -1 if not given.

    Raises:
        InputError: when no picture is large enough.
    """

    def __init__(
        self,
        pictures: Sequence[Picture],
        weights: Sequence[float],
        crop: int,
        seed: int,
        labels: Sequence[int] | None = None,
    ) -> None:
        keep = [i for i, p in enumerate(pictures) if min(p.shape[:2]) >= crop]
        if not keep:
            raise InputError(f"none of {len(pictures)} pictures has both sides >= {crop} pixels")
        self.pictures = [pictures[i] for i in keep]
        self._labels = np.array([labels[i] if labels else -1 for i in keep], np.int64)
        share = np.array([weights[i] for i in keep], dtype=np.float64)
        self._cumulative = np.cumsum(share / share.sum())
        self.crop = crop
        self._rng = np.random.default_rng(seed)

    def batch(self, count: int) -> Tensor:
        """`count` crops, uint8 (B, 3, crop, crop)."""
        return self.draw(count)[0]

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """`count` crops, uint8 (B, 3, crop, crop), and the classes of their pictures (B,)."""
        out = np.empty((count, self.crop, self.crop, 3), np.uint8)
        chosen = np.searchsorted(self._cumulative, self._rng.random(count), side="right")
        chosen = np.minimum(chosen, len(self.pictures) - 1)
        for k, index in enumerate(chosen):
            picture = self.pictures[index]
            top = self._rng.integers(picture.shape[0] - self.crop + 1)
            left = self._rng.integers(picture.shape[1] - self.crop + 1)
            view = picture[top : top + self.crop, left : left + self.crop]
            if self._rng.random() < 0.5:
                view = view[:, ::-1]
            if self._rng.random() < 0.5:
                view = view.swapaxes(0, 1)
            out[k] = view
        return torch.from_numpy(out).permute(0, 3, 1, 2), torch.from_numpy(self._labels[chosen])
