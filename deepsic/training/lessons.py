"""What a head learns from, computed once: the codec and the teacher are frozen.

A lesson holds what the head reads of a picture before rounding and decoded, in 8 bits, at a
quality drawn for it, with the teacher's answer. Decoded latents of `sic` are those of its own
streams, not an imitation; features of the first paper's presets are decoded as they were rounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from deepsic.models.fourstage.engine import FourStageEngine
from deepsic.models.quality import position
from deepsic.models.semantic.head_input import SIDE, head_input
from deepsic.models.sic.engine import SicEngine
from deepsic.training.teacher import Teacher

__all__ = ["Lessons", "lessons", "view_of"]

_GRID = 127 / 8
"""Inputs of a head are bounded by 8."""
_BATCH = 16

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Lessons:
    """N lessons."""

    pre: NDArray[np.int8]
    """(N, HEAD_INPUT, h, w) inputs before rounding, times 127 / 8."""
    post: NDArray[np.int8]
    """The same of decoded latents."""
    position: NDArray[np.float32]
    """(N,) on the quality scale, of the decoded ones."""
    hint: NDArray[np.float16]
    """(N, C, h, w) of the teacher's layer that the head's stem stands for."""
    logits: NDArray[np.float32]
    """(N, classes) of the teacher."""
    label: NDArray[np.int64]
    """(N,), -1 where a picture has none."""

    def save(self, path: Path) -> None:
        """Write all arrays to one `.npz`, whole or not at all."""
        part = path.with_suffix(".part.npz")
        np.savez(part, **vars(self))
        part.replace(path)

    @classmethod
    def load(cls, path: Path) -> Lessons:
        """Inverse of `save`."""
        with np.load(path, allow_pickle=False) as file:
            return cls(**{name: file[name] for name in file.files})

    @classmethod
    def joined(cls, parts: Sequence[Lessons]) -> Lessons:
        """Several sets as one."""
        names = vars(parts[0])
        return cls(**{name: np.concatenate([vars(p)[name] for p in parts]) for name in names})

    def bands(self, rows: NDArray[np.int64], *, post: bool) -> Tensor:
        """Inputs of a head (B, HEAD_INPUT, h, w), float32."""
        return torch.from_numpy((self.post if post else self.pre)[rows]).float() / _GRID


@torch.inference_mode()
def lessons(
    engine: SicEngine | FourStageEngine,
    teacher: Teacher | None,
    pictures: Iterable[tuple[Pixels, int]],
    *,
    qualities: tuple[int, int],
    augment: bool,
    seed: int,
) -> Lessons:
    """One lesson of each picture.

    Args:
        pictures: (H, W, 3) and number of the class, -1 for none.
        qualities: lowest and highest that are drawn.
        augment: mirror half of the pictures, and take a random crop of each, resized; else the
            middle square.
        seed: of qualities and views.
    """
    rng = np.random.default_rng(seed)
    pairs = [(view_of(p, rng if augment else None), label) for p, label in pictures]
    parts = []
    for start in range(0, len(pairs), _BATCH):
        views = [view for view, _ in pairs[start : start + _BATCH]]
        drawn = rng.integers(qualities[0], qualities[1] + 1, len(views))
        coded = [_coded(engine, v, int(q)) for v, q in zip(views, drawn, strict=True)]
        x = torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2).float() / 255
        logits, hint = torch.zeros(len(x), 0), torch.zeros(len(x), 0)
        if teacher is not None:
            with torch.autocast("cpu", torch.bfloat16):
                logits, hint = teacher.lesson(x)
        parts.append(
            Lessons(
                pre=np.concatenate([before for before, _ in coded]),
                post=np.concatenate([after for _, after in coded]),
                position=np.array([position(float(q)) for q in drawn], np.float32),
                hint=hint.half().numpy(),
                logits=logits.float().numpy(),
                label=np.array([label for _, label in pairs[start : start + _BATCH]], np.int64),
            )
        )
    return Lessons.joined(parts)


def _coded(
    engine: SicEngine | FourStageEngine, rgb: Pixels, quality: int
) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """What a head sees before rounding and decoded, (1, channels, ..)."""
    if isinstance(engine, FourStageEngine):
        v8, _, _ = engine.analyse(rgb, quality)
        before, after = (engine.seen(v8, quality, rounded) for rounded in (False, True))
        return _on_grid(before), _on_grid(after)
    _, step8, step16 = engine.transforms.steps(quality)

    def grid(v8: NDArray[np.float32], v16: NDArray[np.float32]) -> NDArray[np.int8]:
        y8 = torch.from_numpy(v8 * step8).permute(2, 0, 1)[None]
        return _on_grid(head_input(y8, torch.from_numpy(v16 * step16).permute(2, 0, 1)[None]))

    v8, v16, _ = engine.analyse(rgb, quality)
    stream = engine.encode(v8, v16, quality)
    height, width = rgb.shape[:2]
    return grid(v8, v16), grid(*engine.decode(stream, height, width, quality))


def _on_grid(seen: Tensor) -> NDArray[np.int8]:
    return np.asarray((seen * _GRID).round().to(torch.int8).numpy())


def view_of(rgb: Pixels, rng: np.random.Generator | None) -> Pixels:
    """A square of SIDE pixels: the middle, or 55 to 100 % of the area, mirrored half the time."""
    height, width = rgb.shape[:2]
    if rng is None:
        high = wide = min(height, width)
        top, left = (height - high) // 2, (width - wide) // 2
    else:
        side, aspect = np.sqrt(rng.uniform(0.55, 1.0)), np.sqrt(rng.uniform(0.8, 1.25))
        short = min(height, width)
        high = min(int(short * side * aspect), height)
        wide = min(int(short * side / aspect), width)
        top, left = rng.integers(height - high + 1), rng.integers(width - wide + 1)
    cut = rgb[top : top + high, left : left + wide]
    if cut.shape[:2] != (SIDE, SIDE):
        cut = np.asarray(Image.fromarray(cut).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    return np.ascontiguousarray(cut[:, ::-1] if rng is not None and rng.random() < 0.5 else cut)
