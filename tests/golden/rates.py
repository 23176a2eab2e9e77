"""What the default model makes of three photographs: the table that `test_rates.py` guards.

python -m tests.golden.rates          # after a change that is meant: write rates.json again
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

TABLE = Path(__file__).with_name("rates.json")
QUALITIES = (15, 40, 65, 90)
#: Photographs of scikit-image and the left and top of a cut of 256x256 pixels.
IMAGES = {"astronaut": (128, 20), "chelsea": (100, 20), "coffee": (180, 60)}
SIDE = 256


def cut(name: str) -> Image.Image:
    """One of `PICTURES`."""
    import skimage.data

    left, top = IMAGES[name]
    pixels: Any = getattr(skimage.data, name)()
    return Image.fromarray(np.ascontiguousarray(pixels[top : top + SIDE, left : left + SIDE]))


def measure(codec: Any, name: str) -> list[list[float]]:
    """Quality, bytes and dB of RGB at each of `QUALITIES`."""
    from deepsic.evaluation.metrics.distortion import compare

    image = cut(name)
    found = []
    for quality in QUALITIES:
        blob = codec.encode(image, quality=quality)
        decoded = codec.decode(blob).convert("RGB")
        level = compare(np.asarray(image), np.asarray(decoded)).psnr_rgb
        found.append([quality, len(blob), round(level, 3)])
    return found


def main() -> None:
    """Write the table."""
    import deepsic

    codec = deepsic.Codec.load("sic", tune="psnr")
    table = {"model": codec.identity.hex(), "curves": {n: measure(codec, n) for n in IMAGES}}
    TABLE.write_text(json.dumps(table, indent=1) + "\n", "utf-8")
    print(f"wrote {TABLE}")


if __name__ == "__main__":
    main()
