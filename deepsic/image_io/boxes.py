"""Objects drawn on an image: their boxes and names."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from deepsic.bitstream import Label

__all__ = ["draw_boxes"]

_COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#800000")


def draw_boxes(image: Image.Image, labels: Sequence[Label]) -> Image.Image:
    """A copy of an image, RGB, with the boxes of its labels; one colour for each name."""
    drawn = image.convert("RGB")
    pen = ImageDraw.Draw(drawn)
    line = max(2, min(drawn.size) // 200)
    font = ImageFont.load_default(max(10, min(drawn.size) // 30))
    names = sorted({label.name for label in labels})
    for label in reversed(labels):  # the surest on top
        if label.box is None:
            continue
        colour = _COLOURS[names.index(label.name) % len(_COLOURS)]
        left, top, right, bottom = (
            round(share * side) for share, side in zip(label.box, drawn.size * 2, strict=True)
        )
        pen.rectangle((left, top, max(left, right), max(top, bottom)), outline=colour, width=line)
        text = f"{label.name} {label.probability:.0%}"
        x0, y0, x1, y1 = pen.textbbox((left + line, top + line), text, font=font)
        pen.rectangle((x0 - line, y0 - line, x1 + line, y1 + line), fill=colour)
        pen.text((left + line, top + line), text, fill="white", font=font)
    return drawn
