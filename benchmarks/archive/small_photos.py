"""Thousands of small images that are photographs: real ones, cut and shrunk, always the same."""

from __future__ import annotations

import functools
import os
import random
import sys
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image

from benchmarks.options import images_in
from deepsic import atomic
from deepsic.data.photographs import photographs

__all__ = ["COMMAND", "Command", "Photos", "Work", "make_images"]

ROOT = Path(__file__).resolve().parents[2]
SIDES = (64, 80, 96)
#: Beyond so many, images are links to the first ones.
DISTINCT = 5000


COMMAND = f"{sys.executable} {ROOT / 'pipelines' / 'compress_archive.py'}"

Photos = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Photographs to shrink.  [default: scikit-image's]"),
]
Work = Annotated[Path | None, typer.Option(metavar="DIR", help="Keep images and archives there.")]
Command = Annotated[str, typer.Option(help="What is run; source and destination are appended.")]


def make_images(folder: Path, count: int, photos: Path | None = None) -> set[str]:
    """`count` photographs of 64 to 96 pixels as PNG, in folders of a hundred; their keys.

    photos: where the photographs are (all are cut and shrunk in turn); None: scikit-image's.
    """
    sources = images_in(photos) if photos else photographs()
    keys = {f"{number // 100:03d}/{number:06d}.png" for number in range(count)}
    for number, key in enumerate(sorted(keys)):
        path = folder / key
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if number >= DISTINCT:
            original = number % DISTINCT
            os.link(folder / f"{original // 100:03d}" / f"{original:06d}.png", path)
            continue
        image = _photograph(sources[number % len(sources)])
        dice = random.Random(number)
        side, width = min(image.size), dice.choice(SIDES)
        crop = side if number < len(sources) else dice.randrange(side // 2, side)
        left, top = dice.randint(0, image.width - crop), dice.randint(0, image.height - crop)
        box = (left, top, left + crop, top + crop)
        resized = image.resize((width, dice.choice(SIDES)), Image.Resampling.BICUBIC, box)
        with atomic.writing(path) as file:
            resized.save(file, "PNG", compress_level=1)
    return keys


@functools.lru_cache(maxsize=8)
def _photograph(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")
