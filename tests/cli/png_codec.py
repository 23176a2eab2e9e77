"""A codec of the real one's shape whose streams are PNG files: quick, exact, no network."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from deepsic.bitstream import Container, Header, Label, Semantics, pack, unpack
from deepsic.image_io.load import LoadedImage, load_image, to_pil

MODEL_ID = b"pngcodec"


class PngCodec:
    """Encodes one tile without loss; `quality` only goes into the header."""

    reader = "looks at the image"

    def encode(
        self,
        image: Any,
        *,
        quality: int = 50,
        bpp: float | None = None,
        max_bytes: int | None = None,
        labels: Sequence[Label] = (),
        labeler: Any = None,
    ) -> bytes:
        loaded = load_image(image)
        if labeler is not None:
            labels = labeler(to_pil(loaded))
        out = io.BytesIO()
        Image.fromarray(loaded.rgb).save(out, "PNG")
        header = Header(
            width=loaded.size[0],
            height=loaded.size[1],
            model_id=MODEL_ID,
            quality=quality,
            gray=loaded.gray,
        )
        container = Container(
            header=header,
            tiles=(out.getvalue(),),
            semantics=Semantics.of(labels) if labels else None,
            exif=loaded.exif,
            icc=loaded.icc,
            xmp=loaded.xmp,
        )
        return pack(container)

    def decode(
        self, blob: bytes, *, region: tuple[int, int, int, int] | None = None, scale: float = 1
    ) -> Image.Image:
        assert scale == 1
        container = unpack(blob)
        rgb = np.asarray(Image.open(io.BytesIO(container.tiles[0])))
        kept = {name: getattr(container, name) for name in ("exif", "icc", "xmp")}
        image = to_pil(LoadedImage(rgb=rgb, gray=container.header.gray, **kept))
        return image if region is None else image.crop(region)

    def labels(self, blob: bytes, *, top: int = 5) -> list[Label]:
        return [Label("dalmatian", "n02110341", 0.75)][:top]


def find_dogs(image: Image.Image) -> list[Label]:
    """A labeler for `--labeler tests.cli.png_codec:find_dogs`."""
    return [Label("English springer", "n02102040", 0.64), Label("Lhasa", "n02098413", 0.16)]
