"""Figures 5 and 8 as contact sheets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.saic.arms import code, find_arm
from deepsic.codec import Codec
from deepsic.data.readers import class_folder
from pipelines.stage import console

__all__ = ["draw"]

_CROPS = {"kodim15.png": (250, 100), "kodim07.png": (330, 180), "kodim23.png": (130, 60)}
"""Left and top of the parts that Figure 5 shows."""
_SIDE = 200
_RATE = 0.2
_LINE = 14


def _sheet(rows: Sequence[Sequence[tuple[str, Image.Image]]], target: Path) -> None:
    width = sum(image.width for _, image in rows[0])
    height = sum(row[0][1].height + _LINE for row in rows)
    sheet = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(sheet)
    top = 0
    for row in rows:
        left = 0
        for text, image in row:
            pen.text((left + 2, top + 1), text, fill="black")
            sheet.paste(image, (left, top + _LINE))
            left += image.width
        top += row[0][1].height + _LINE
    sheet.save(target, quality=88)
    console.say(str(target))


def _figure5(kodak: Path, out: Path, models: Sequence[str]) -> None:
    coders = [find_arm(name) for name in ("jpeg", "jpeg2000", *models, "sic")]
    rows = []
    for name, (left, top) in _CROPS.items():
        with Image.open(kodak / name) as file:
            picture = np.asarray(file.convert("RGB"))
        box = (left, top, left + _SIDE, top + _SIDE)
        row = [("original", Image.fromarray(picture).crop(box))]
        for coder in coders:
            back, bpp = code(coder, picture, _RATE)
            row.append((f"{coder.name} {bpp:.3f} bpp", Image.fromarray(back).crop(box)))
        rows.append(row)
    _sheet(rows, out / "figure5.jpg")


def _figure8(images: Path, out: Path, models: Sequence[str], count: int = 5) -> None:
    samples = class_folder(images)
    chosen = samples[count :: len(samples) // count][:count]
    originals = [sample.image() for sample in chosen]
    rows = [[("original", Image.fromarray(picture)) for picture in originals]]
    for model in models:
        codec = Codec.load(model, device="cpu")
        row = []
        for picture in originals:
            blob = codec.encode(picture, bpp=0.5)
            best = codec.labels(blob, top=1)[0]
            text = f"{codec.name}: {best.name} {best.probability:.0%}"
            row.append((text, codec.decode(blob).convert("RGB")))
        rows.append(row)
    _sheet(rows, out / "figure8.jpg")


def draw(kodak: Path, images: Path, out: Path, models: Sequence[str]) -> None:
    """Write figure5.jpg and figure8.jpg."""
    out.mkdir(parents=True, exist_ok=True)
    _figure5(kodak, out, models[:1])
    _figure8(images, out, models)
