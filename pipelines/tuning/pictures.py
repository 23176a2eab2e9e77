"""The pictures of a search: uint8 squares of one size, some to train on, some to judge on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepsic.errors import DeepsicError, InputError
from deepsic.image_io.load import load_image
from pipelines import console

__all__ = ["SIDE", "PictureSet", "embedded", "from_folder", "read_folder"]

SIDE = 224
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".avif", ".bmp"}
#: Every fifth picture judges, where there is no folder `val`.
_HOLD_OUT = 5

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class PictureSet:
    """Nx3x224x224 uint8 each."""

    train: Pixels
    val: Pixels

    @property
    def identity(self) -> str:
        """Changes with any pixel."""
        digest = hashlib.sha256(self.train.tobytes())
        digest.update(self.val.tobytes())
        return digest.hexdigest()[:16]


def _square(pixels: Pixels) -> Pixels:
    """HxWx3 -> 3x224x224: shorter side resized to 224, then the middle."""
    height, width = pixels.shape[:2]
    if (height, width) != (SIDE, SIDE):
        scale = SIDE / min(height, width)
        size = (max(SIDE, round(width * scale)), max(SIDE, round(height * scale)))
        pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
        top, left = (pixels.shape[0] - SIDE) // 2, (pixels.shape[1] - SIDE) // 2
        pixels = pixels[top : top + SIDE, left : left + SIDE]
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _read(paths: Iterable[Path], limit: int) -> Pixels:
    """Up to `limit` pictures, evenly spaced; unreadable ones are named and left out."""
    chosen = list(paths)
    chosen = chosen[:: max(1, len(chosen) // limit)][:limit]
    pictures = []
    for path in chosen:
        try:
            pictures.append(_square(load_image(path).rgb))
        except DeepsicError as error:
            console.say(f"left out {path}: {error}")
    if not pictures:
        raise InputError("no readable picture")
    return np.stack(pictures)


def _files(folder: Path, exclude: Sequence[str]) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in _SUFFIXES
        and not any(fnmatch(path.name, pattern) for pattern in exclude)
    )


def from_folder(
    folder: Path, *, limit_train: int, limit_val: int, exclude: Sequence[str] = ()
) -> PictureSet:
    """Pictures below `folder`: its `train` and `val` if it has both, else every fifth judges.

    Args:
        exclude: patterns of file names that are neither trained nor judged on.

    Raises:
        InputError: no folder, or no readable picture in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder")
    if (folder / "train").is_dir() and (folder / "val").is_dir():
        train, val = _files(folder / "train", exclude), _files(folder / "val", exclude)
    else:
        files = _files(folder, exclude)
        val = files[::_HOLD_OUT]
        train = [path for at, path in enumerate(files) if at % _HOLD_OUT]
    if not train or not val:
        raise InputError(
            f"too few pictures in {folder}: {len(train)} to train, {len(val)} to judge"
        )
    return PictureSet(train=_read(train, limit_train), val=_read(val, limit_val))


def read_folder(folder: Path, *, limit: int, exclude: Sequence[str] = ()) -> Pixels:
    """Up to `limit` pictures below `folder`, Nx3x224x224 uint8.

    Raises:
        InputError: no folder, or no readable picture in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder")
    return _read(_files(folder, exclude), limit)


def embedded() -> PictureSet:
    """Pieces of the photographs inside scikit-image and scikit-learn: small, but real.

    Raises:
        InputError: neither package is installed.
    """
    pieces = [piece for picture in _photographs() for piece in _pieces(picture)]
    if not pieces:
        raise InputError("no photograph found: install scikit-image, or give a folder")
    val = [piece for at, piece in enumerate(pieces) if at % _HOLD_OUT == 0]
    train = [piece for at, piece in enumerate(pieces) if at % _HOLD_OUT]
    return PictureSet(train=np.stack(train), val=np.stack(val))


def _photographs() -> Iterable[Pixels]:
    from importlib.util import find_spec

    places = {
        "skimage": [f"data/{name}" for name in ("astronaut.png", "chelsea.png", "coffee.png")],
        "sklearn": ["datasets/images/china.jpg", "datasets/images/flower.jpg"],
    }
    for package, names in places.items():
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations if spec else None) or []:
            for name in names:
                if (Path(folder) / name).is_file():
                    yield load_image(Path(folder) / name).rgb


def _pieces(pixels: Pixels) -> Iterable[Pixels]:
    """The middle, and four overlapping corners."""
    yield _square(pixels)
    height, width = pixels.shape[:2]
    side = round(min(height, width) * 0.8)
    for top in (0, height - side):
        for left in (0, width - side):
            yield _square(pixels[top : top + side, left : left + side])
