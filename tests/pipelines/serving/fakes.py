"""A codec of the real one's shape that is fast: its image stream is a WebP file.

The container around it is the real one, so everything that reads `.sic` files works on it.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from deepsic.bitstream.container import Container, pack, unpack
from deepsic.bitstream.header import Header
from deepsic.bitstream.semantics import Label, Semantics
from deepsic.errors import UsageError
from deepsic.image_io.load import ImageSource, load_image, to_pil
from pipelines.serving.settings import ServeSettings

SPRINGER = Label("English springer", "n02102040", 0.91)
COCKER = Label("cocker spaniel", "n02102318", 0.05)
EXIF_ORIENTATION = 0x0112


class FakeCodec:
    """Encodes with WebP; `seconds` is how long each image keeps the processor waiting."""

    def __init__(self, name: str = "sic", seconds: float = 0.0) -> None:
        self.name = name
        self.identity = (name.encode() * 8)[:8]
        self.seconds = seconds
        self.batches: list[int] = []
        self.scales = (1.0,)
        self.tunings = ("psnr",)

    def encode(
        self,
        image: ImageSource,
        quality: int = 50,
        bpp: float | None = None,
        max_bytes: int | None = None,
        labels: Sequence[Label] | bool = True,
        labeler: Callable[[Image.Image], Sequence[Label]] | None = None,
    ) -> bytes:
        time.sleep(self.seconds)
        image = to_pil(load_image(image))
        if bpp is not None:
            max_bytes = int(bpp * image.width * image.height / 8)
        if isinstance(labels, bool):
            labels = labeler(image) if labels and labeler else ()
        found = tuple(labels)
        qualities = [quality] if max_bytes is None else range(90, 0, -10)
        for step in qualities:
            blob = self._pack(image, step, found)
            if max_bytes is None or len(blob) < max_bytes:
                return blob
        raise UsageError(f"{max_bytes} bytes are too few for this image")

    def _pack(self, image: Image.Image, quality: int, labels: tuple[Label, ...]) -> bytes:
        out = io.BytesIO()
        image.convert("RGB").save(out, "WEBP", quality=quality, method=0)
        header = Header(
            width=image.width, height=image.height, model_id=self.identity, quality=quality
        )
        exif = image.info.get("exif")
        return pack(
            Container(
                header=header,
                tiles=(out.getvalue(),),
                semantics=Semantics.of(labels) if labels else None,
                exif=exif[6:] if exif else None,
                icc=image.info.get("icc_profile"),
                xmp=image.info.get("xmp"),
            )
        )

    def encode_batch(self, images: Sequence[ImageSource], **options: Any) -> list[bytes]:
        self.batches.append(len(images))
        return [self.encode(image, **options) for image in images]

    def tuned(self, tune: str) -> FakeCodec:
        raise UsageError(f"model {self.name!r} can't tune for {tune!r}; it has psnr")

    def decode(self, blob: bytes, scale: float = 1) -> Image.Image:
        time.sleep(self.seconds)
        container = unpack(blob)
        image = Image.open(io.BytesIO(container.tiles[0])).convert("RGB")
        if container.exif:
            image.info["exif"] = b"Exif\0\0" + container.exif
        if container.xmp:
            image.info["xmp"] = container.xmp
        return image

    def labels(self, blob: bytes, top: int = 5) -> list[Label]:
        return [SPRINGER, COCKER][:top]


class FakeReader:
    """A classifier that sees a springer in everything, and is fast."""

    name = "fake"

    def labels(self, image: Image.Image) -> list[Label]:
        return [SPRINGER, COCKER]

    def heat(self, image: Image.Image, wnid: str | None = None) -> tuple[Image.Image, Label]:
        return Image.linear_gradient("L").resize((32, 32)), SPRINGER


def load_fake(name: str, settings: ServeSettings) -> FakeCodec:
    """The loader that tests give to `Worker`."""
    return FakeCodec(name, float(os.environ.get("FAKE_SECONDS", "0")))


def load_slow(name: str, settings: ServeSettings) -> FakeCodec:
    """A codec that takes 50 ms for each image, whether it encodes or decodes."""
    return FakeCodec(name, 0.05)


def made_image(width: int = 96, height: int = 64, seed: int = 0) -> Image.Image:
    """Smooth colour with some texture: never two alike for two seeds."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def image_bytes(kind: str = "PNG", **options: Any) -> bytes:
    """An image file of `made_image(**options)`."""
    out = io.BytesIO()
    made_image(**options).save(out, kind)
    return out.getvalue()
