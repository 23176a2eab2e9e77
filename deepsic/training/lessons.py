"""What a head learns from, computed once: the encoder and the teacher are frozen.

A lesson holds a picture's patches before and after rounding, in 8 bits, at a quality drawn for it,
with the teacher's answer. Decoded latents are the codec's own, not an imitation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from deepsic.models import bands
from deepsic.models.engine import SicEngine
from deepsic.models.head import head_input
from deepsic.training.teacher import Teacher

__all__ = ["Lessons", "latent_patches", "lessons"]

_ZONE = np.float32(0.15)
"""A usual dead zone, steps."""
_GRID = 127 / 8
"""Patches are bounded by 8."""


@dataclass(frozen=True, kw_only=True)
class Lessons:
    """N lessons."""

    pre: NDArray[np.int8]
    """(N, HEAD_INPUT, h, w) patches before rounding, times 127 / 8."""
    post: NDArray[np.int8]
    """The same of decoded latents."""
    position: NDArray[np.float32]
    """(N,) on the quality scale."""
    hint: NDArray[np.float16]
    """(N, C, h, w) of the teacher."""
    logits: NDArray[np.float32]
    """(N, classes) of the teacher."""
    label: NDArray[np.int64]
    """(N,) or -1 where a picture has none."""
    bits: NDArray[np.float32]
    """(N,) of the pictures' streams."""

    def save(self, path: Path) -> None:
        """Write all arrays to one `.npz`."""
        np.savez(path, **vars(self))

    @classmethod
    def load(cls, path: Path) -> Lessons:
        """Inverse of `save`."""
        with np.load(path, allow_pickle=False) as file:
            return cls(**{name: file[name] for name in file.files})

    @classmethod
    def joined(cls, parts: Sequence[Lessons]) -> Lessons:
        """Several sets as one."""
        return cls(
            **{
                name: np.concatenate([vars(part)[name] for part in parts])
                for name in vars(parts[0])
            }
        )

    def patches(self, rows: NDArray[np.int64], *, post: bool) -> Tensor:
        """Patches (B, HEAD_INPUT, h, w), float32."""
        return torch.from_numpy((self.post if post else self.pre)[rows]).float() / _GRID


@torch.inference_mode()
def latent_patches(
    engine: SicEngine, rgb: NDArray[np.uint8], quality: int, *, exact: bool = True
) -> tuple[Tensor, Tensor, int]:
    """Patches (1, HEAD_INPUT, ..) before rounding and decoded, and the stream's bits.

    Args:
        rgb: (H, W, 3), sides multiples of 32.
        exact: decode what the codec codes; else round without its predictions, which is twice as
            fast, keeps a little less, and counts no bits.
    """
    _, step8, step16 = engine.transforms.steps(quality)
    v8, v16, _ = engine.analyse(rgb, quality)
    if exact:
        stream, y8, y16 = engine.encode_decoded(v8, v16, quality)
    else:
        stream, y8, y16 = b"", _rounded(v8), _rounded(v16)
        y16[..., : bands.LL] = np.round(v16[..., : bands.LL])
        if quality < bands.CHROMA_FROM:
            y8[..., bands.ALWAYS8 :] = 0

    def patches(a: NDArray[np.float32], b: NDArray[np.float32]) -> Tensor:
        fine = torch.from_numpy(a * step8).permute(2, 0, 1)[None]
        return head_input(fine, torch.from_numpy(b * step16).permute(2, 0, 1)[None])

    return patches(v8, v16), patches(y8, y16), 8 * len(stream)


def lessons(
    engine: SicEngine,
    teacher: Teacher,
    pictures: Sequence[NDArray[np.uint8]],
    labels: Sequence[int],
    *,
    qualities: tuple[int, int],
    augment: bool,
    exact: bool,
    seed: int,
    tell: Callable[[int], None] = lambda done: None,
) -> Lessons:
    """One lesson of each picture (224, 224, 3).

    Args:
        qualities: lowest and highest that are drawn.
        augment: mirror half of the pictures, and take a random crop of each, resized.
        exact: as `latent_patches`.
        tell: called with how many pictures a batch finished.
    """
    rng = np.random.default_rng(seed)
    parts: list[Lessons] = []
    for start in range(0, len(pictures), 16):
        views = [_view(p, rng) if augment else p for p in pictures[start : start + 16]]
        drawn = rng.integers(qualities[0], qualities[1] + 1, len(views))
        coded = [
            latent_patches(engine, view, int(quality), exact=exact)
            for view, quality in zip(views, drawn, strict=True)
        ]
        x = torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2).float() / 255
        with torch.autocast("cpu", torch.bfloat16):
            logits, hint = teacher.lesson(x)
        parts.append(
            Lessons(
                pre=_grid(torch.cat([c[0] for c in coded])),
                post=_grid(torch.cat([c[1] for c in coded])),
                position=((drawn - 1) / 99).astype(np.float32),
                hint=hint.half().numpy(),
                logits=logits.float().numpy(),
                label=np.array(labels[start : start + 16], np.int64),
                bits=np.array([c[2] for c in coded], np.float32),
            )
        )
        tell(len(views))
    return Lessons.joined(parts)


def _rounded(v: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.copysign(np.floor(np.abs(v) + 0.5 - _ZONE), v)


def _grid(patches: Tensor) -> NDArray[np.int8]:
    return (patches * _GRID).round().to(torch.int8).numpy()


def _view(rgb: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A crop of 60 to 100 % of the area, resized back, mirrored half of the time."""
    height, width = rgb.shape[:2]
    side, aspect = np.sqrt(rng.uniform(0.6, 1.0)), np.sqrt(rng.uniform(0.85, 1 / 0.85))
    high, wide = min(int(height * side * aspect), height), min(int(width * side / aspect), width)
    top, left = rng.integers(height - high + 1), rng.integers(width - wide + 1)
    cut = Image.fromarray(rgb[top : top + high, left : left + wide])
    view = np.asarray(cut.resize((width, height), Image.Resampling.BICUBIC))
    return np.ascontiguousarray(view[:, ::-1] if rng.random() < 0.5 else view)
