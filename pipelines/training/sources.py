"""Where a run's images come from: prepared folders, a data file, or the embedded photographs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepsic.errors import InputError, UsageError
from deepsic.training.data.images import ImageSet, JoinedImages, MemoryImages, Subset, spread
from deepsic.training.recipe import Recipe
from pipelines.models import model_file

__all__ = [
    "DATA_FILE", "EMBEDDED", "Images", "find_places", "identity_of", "open_images", "recipe_images",
    "start_identity",
]  # fmt: skip

EMBEDDED = "embedded"
"""The photographs that a dependency ships."""
PREPARED = "runs/prepared"
"""Where a stage looks if no place is named."""
DATA_FILE = ".pack"
"""Ending of what `train.py pack` makes."""
_SIDE = 256
"""Pixels a side of the pieces that the embedded photographs are cut into."""


@dataclass(frozen=True, kw_only=True)
class Images:
    """What one worker trains and validates on."""

    training: ImageSet
    held_out: ImageSet
    labels: str
    """Label set of their classes, "" for none."""
    about: dict[str, Any]
    """For the model's card: sources and counts, without this machine's paths."""


def find_places(data: Sequence[str] | None) -> tuple[str, ...]:
    """What options name: prepared versions, data files, or the embedded photographs.

    Args:
        data: as given; nothing: the last version in `PREPARED`, else `EMBEDDED`.

    Raises:
        InputError: a place that was named holds nothing.
    """
    from pipelines.manifest import find_version

    if not data:
        try:
            return (str(Path(find_version(PREPARED)).resolve()),)
        except InputError:
            return (EMBEDDED,)
    places = []
    for place in data:
        if place == EMBEDDED or place.endswith(DATA_FILE):
            places.append(place)
            continue
        version = find_version(place)
        places.append(version if "://" in version else str(Path(version).resolve()))
    return tuple(places)


def start_identity(start: Sequence[str]) -> str:
    """Sixteen hex digits of the files that training starts from; "" for none.

    Raises:
        UnknownModelError: no such model.
    """
    digest = hashlib.sha256()
    for name in start:
        digest.update(hashlib.sha256(model_file(name).read_bytes()).digest())
    return digest.hexdigest()[:16] if start else ""


def identity_of(places: Sequence[str]) -> str:
    """Sixteen hex digits of what all places hold.

    Raises:
        InputError: nothing prepared there.
    """
    return hashlib.sha256(json.dumps([_identity(place) for place in places]).encode()).hexdigest()[
        :16
    ]


def open_images(
    places: Sequence[str], *, labels: str, hold_out: int, count: int, by_area: bool = False,
    taught: bool = False,
) -> Images:  # fmt: skip
    """Images of all places as one set.

    Args:
        places: prepared folders (local or s3://), data files, or `EMBEDDED`.
        labels: label set, "data" for the data's own classes, "" for none.
        hold_out: every n-th file validates.
        count: images to validate on, at most.
        by_area: draw prepared images as often as their pixels say, not each once an epoch.
        taught: a teacher's predictions serve where there is no class.

    Raises:
        InputError: a place holds nothing, or nothing with classes where they are wanted.
        UsageError: classes that the label set lacks; own classes of several places.
    """
    if labels == "data" and len(places) > 1:
        raise UsageError("own classes (labels data) need one place with all images in --data")
    opened = [_open(place, labels, hold_out, count, by_area) for place in places]
    if labels and not taught and not any(_known(images.training) for images in opened):
        raise InputError(
            f"no image of {', '.join(places)} has a class: put the images into one folder a class, "
            "or give class names with tars or Parquet, and prepare them again"
        )
    if len(opened) == 1:
        return opened[0]
    held = JoinedImages([images.held_out for images in opened])
    return Images(
        training=JoinedImages([images.training for images in opened]),
        held_out=Subset(held, spread(held.labels, count)),
        labels=opened[0].labels,
        about={"joined": [images.about for images in opened]},
    )


def recipe_images(places: Sequence[str], recipe: Recipe[Any, Any], count: int) -> Images:
    """What a recipe trains and validates on: `open_images` as its fields say."""
    return open_images(
        places, labels=recipe.labels, hold_out=recipe.hold_out, count=count,
        by_area=recipe.by_area, taught=bool(getattr(recipe.objective, "teacher", "")),
    )  # fmt: skip


def _known(images: ImageSet) -> bool:
    """Whether any image has a class."""
    return bool((np.asarray(images.labels) >= 0).any())


def _identity(place: str) -> str:
    if place == EMBEDDED:
        return EMBEDDED
    if place.endswith(DATA_FILE):
        return hashlib.sha256(Path(place).read_bytes()).hexdigest()
    from pipelines.manifest import Manifest

    return Manifest.read(place).hash


def _open(place: str, labels: str, hold_out: int, count: int, by_area: bool) -> Images:
    if place == EMBEDDED:
        return _embedded(labels, count)
    if place.endswith(DATA_FILE):
        return _packed(place, labels, count)
    from pipelines.training.prepared import Prepared

    prepared = Prepared(place, labels=labels or None, hold_out=hold_out, by_area=by_area)
    return Images(
        training=prepared.training(),
        held_out=prepared.validation(count),
        labels=prepared.labels or "",
        about=prepared.manifest.about(),
    )


def _packed(place: str, labels: str, count: int) -> Images:
    from deepsic.training.data.packed import Packed

    packed = Packed.read(Path(place))
    held = Subset(packed.validation, spread(packed.validation.labels, count))
    own = packed.labels or ""
    if labels not in ("", "data", own):
        raise UsageError(f"{place} has classes of {own or 'no label set'}, not of {labels}")
    return Images(
        training=packed.training, held_out=held, labels=own if labels else "", about=packed.about
    )


def _embedded(labels: str, count: int) -> Images:
    if labels:
        raise UsageError("the embedded photographs have no classes: give --data")
    from pipelines.preparing.files import embedded_images

    pieces = []
    for pixels in embedded_images():
        rows = range(0, pixels.shape[0] - _SIDE + 1, _SIDE)
        columns = range(0, pixels.shape[1] - _SIDE + 1, _SIDE)
        pieces += [
            np.ascontiguousarray(pixels[top : top + _SIDE, left : left + _SIDE])
            for top in rows
            for left in columns
        ]
    held, rest = pieces[::5], [p for number, p in enumerate(pieces) if number % 5]
    return Images(
        training=MemoryImages(rest),
        held_out=MemoryImages(held[:count]),
        labels="",
        about={"sources": [{"url": EMBEDDED, "weight": 1.0}], "counts": {"pictures": len(pieces)}},
    )
