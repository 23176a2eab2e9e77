"""A data file: crops of a training set and a held-out part, small enough to be sent anywhere.

    write_packed(path, prepared.training(), prepared.validation(64), PackConfig(), labels=None)
    packed = Packed.read(path)            # needs torch, numpy and Pillow; no Ray, no network
    Batches(packed.training, ...)

It is a zip archive: `index.json` (weights, labels, class names, where the images come from) and the
crops as AVIF or lossless WebP below `train/` and `held/`.
"""

from __future__ import annotations

import io
import itertools
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from deepsic import atomic
from deepsic.errors import InputError, UsageError
from deepsic.labels import class_names, class_set
from deepsic.threads import each
from deepsic.training.data.images import Entry, ImageSet, MemoryImages, Pixels, middle

__all__ = ["PackConfig", "Packed", "write_packed"]

FORMAT = "deepsic-packed-1"
MIB = 1 << 20
_INDEX = "index.json"
_PER_MEMBER = 250
"""Bytes that a crop takes in the archive's directory and in the index, at most."""
_AT_A_TIME = 32
"""Crops that are coded before their sizes are looked at."""


@dataclass(frozen=True, kw_only=True)
class PackConfig:
    """What goes into a data file."""

    max_bytes: int = 36 * MIB
    """Size of the file, not exceeded."""
    side: int = 384
    """Longest side of a crop, pixels; larger images give several."""
    quality: int | None = 90
    """Of AVIF, 4:4:4, 1 to 100; None for lossless WebP, three times as large."""
    held_share: float = 0.08
    """Of the bytes, for held-out images; at most all of them."""
    seed: int = 0
    """Which images and crops are taken where not all have room."""

    def __post_init__(self) -> None:
        if self.side < 32 or self.side % 32:
            raise UsageError(f"side={self.side} must be a positive multiple of 32")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise UsageError(f"quality={self.quality} must be 1 to 100, or none for lossless WebP")
        if not 0 < self.held_share < 1:
            raise UsageError(f"held_share={self.held_share} must be between 0 and 1")
        if self.max_bytes < 1:
            raise UsageError(f"max_bytes={self.max_bytes} must be positive")


@dataclass(frozen=True, kw_only=True)
class Packed:
    """A data file's contents, decoded."""

    training: MemoryImages
    validation: MemoryImages
    labels: str | None
    """Name of the label set; None: no image has a class."""
    about: dict[str, Any] = field(default_factory=dict)
    """Where the images come from, for a model's provenance."""

    @classmethod
    def read(cls, path: Path) -> Packed:
        """Read a data file whole; a crop of 384 pixels takes 0.4 MB of memory.

        Raises:
            InputError: none there, damaged, or of another format.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                index = json.loads(archive.read(_INDEX))
                if index["format"] != FORMAT:
                    raise InputError(f"{path} is a {index['format']} file: pack the data again")
                parts = {part: _read_part(archive, index[part]) for part in ("train", "held")}
        except FileNotFoundError:
            raise InputError(f"{path} doesn't exist: make it with train.py pack") from None
        except (zipfile.BadZipFile, KeyError, ValueError, TypeError, EOFError, OSError) as error:
            raise InputError(
                f"{path} can't be read ({error}): copy it anew, or make it with train.py pack"
            ) from None
        labels = class_set(index["classes"]) if index["classes"] else None
        return cls(
            training=parts["train"], validation=parts["held"], labels=labels, about=index["about"]
        )


def write_packed(
    path: Path,
    training: ImageSet,
    validation: ImageSet,
    config: PackConfig,
    *,
    labels: str | None,
    about: Mapping[str, Any] | None = None,
) -> dict[str, int]:
    """Fill a data file with crops, in a random order until it is full or there are no more.

    Args:
        training: each image gives a crop before any gives a second.
        validation: held-out images, whose middles are taken in their order.
        labels: label set that the images' classes are numbers of.

    Returns:
        `train` and `held`: crops of each part; `bytes`: of the file.

    Raises:
        UsageError: not even one crop of each part fits.
        StorageError: the file can't be written; nothing is left of it.
    """
    index: dict[str, Any] = {
        "format": FORMAT,
        "classes": class_names(labels) if labels else [],
        "about": dict(about or {}),
    }
    room = config.max_bytes - len(json.dumps(index)) - 1000
    with atomic.writing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        held, used = _fill(
            archive, "held", _middles(validation, config.side), int(room * config.held_share),
            config,
        )  # fmt: skip
        train, _ = _fill(archive, "train", _crops(training, config), room - used, config)
        if not held or not train:
            raise UsageError(
                f"{config.max_bytes} bytes have no room for a crop of {config.side} pixels and "
                "a held-out one: give more bytes, or smaller crops"
            )
        index |= {"train": train, "held": held}
        archive.writestr(zipfile.ZipInfo(_INDEX), json.dumps(index))
    return {"train": len(train), "held": len(held), "bytes": path.stat().st_size}


def _fill(
    archive: zipfile.ZipFile, part: str, entries: Iterator[Entry], room: int, config: PackConfig
) -> tuple[list[dict[str, Any]], int]:
    """Add crops while they fit; their lines of the index, and the bytes taken."""
    lines: list[dict[str, Any]] = []
    used = 0
    ending = "webp" if config.quality is None else "avif"
    while some := list(itertools.islice(entries, _AT_A_TIME)):
        coded = each(lambda entry: _encode(entry.pixels, config.quality), some)
        for entry, data in zip(some, coded, strict=True):
            if used + len(data) + _PER_MEMBER > room:
                return lines, used
            used += len(data) + _PER_MEMBER
            name = f"{part}/{len(lines):06d}.{ending}"
            archive.writestr(zipfile.ZipInfo(name), data)  # without today's date
            lines.append({"name": name, "weight": entry.weight, "label": entry.label})
    return lines, used


def _crops(images: ImageSet, config: PackConfig) -> Iterator[Entry]:
    """One crop of each image in a random order, then a second of the larger ones, and so on."""
    rng = np.random.default_rng(config.seed)
    drawn = np.flatnonzero(images.weights > 0)
    pieces = np.ceil(images.sizes.prod(axis=1) / config.side**2).astype(np.int64)
    for turn in range(int(pieces[drawn].max(initial=0))):
        for row in rng.permutation(drawn[pieces[drawn] > turn]):
            pixels = images.image(row)
            top, left = (
                int(rng.integers(max(0, side - config.side) + 1)) for side in pixels.shape[:2]
            )
            yield Entry(
                pixels=pixels[top : top + config.side, left : left + config.side],
                weight=float(images.weights[row]),
                label=int(images.labels[row]),
            )


def _middles(images: ImageSet, side: int) -> Iterator[Entry]:
    for row in range(len(images)):
        yield Entry(pixels=middle(images.image(row), side), label=int(images.labels[row]))


def _encode(pixels: Pixels, quality: int | None) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if quality is None:
        image.save(buffer, "WEBP", lossless=True, quality=80)
    else:
        # One thread an image: several images are coded at a time.
        image.save(buffer, "AVIF", quality=quality, subsampling="4:4:4", max_threads=1)
    return buffer.getvalue()


def _read_part(archive: zipfile.ZipFile, lines: list[dict[str, Any]]) -> MemoryImages:
    def decode(data: bytes) -> Pixels:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))

    blobs = [archive.read(line["name"]) for line in lines]
    return MemoryImages(
        each(decode, blobs), [line["weight"] for line in lines], [line["label"] for line in lines]
    )
