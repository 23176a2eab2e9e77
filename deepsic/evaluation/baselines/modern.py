"""JPEG 2000, WebP and AVIF through Pillow, JPEG XL through its plug-in: one thread each.

`threads` of AVIF and JPEG XL is 1 so that speeds compare and a pipeline isn't oversubscribed.
"""

from __future__ import annotations

import importlib
import io
from typing import Any

from PIL import Image, features

from deepsic.evaluation.baselines.base import MeasuredCodec

__all__ = ["Avif", "Jpeg2000", "JpegXL", "WebP"]


class _Pillow(MeasuredCodec):
    """A codec that Pillow may have been built without."""

    feature: str
    format: str

    def missing(self) -> str | None:
        if features.check(self.feature):
            return None
        return f"this Pillow was built without {self.title}; install a wheel from the registry"

    def decode(self, blob: bytes) -> Image.Image:
        with Image.open(io.BytesIO(blob), formats=(self.format,)) as image:
            return image.convert("RGB")

    def _save(self, image: Image.Image, **options: object) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, self.format, **options)
        return buffer.getvalue()


class Jpeg2000(_Pillow):
    """OpenJPEG, 9/7 wavelet. The knob is the rate asked for, bpp: OpenJPEG controls rate itself."""

    name = "jpeg2000"
    title = "JPEG 2000"
    # mct: Pillow leaves the colour transform off by default, which costs 3 dB.
    settings = "OpenJPEG, irreversible 9/7, colour transform on, one layer"
    feature, format = "jpg_2000", "JPEG2000"
    low, high, step = 0.02, 24.0, 1e-4
    ladder = (0.1, 0.2, 0.35, 0.6, 1.0, 1.6, 2.2)

    def encode(self, image: Image.Image, knob: float) -> bytes:
        return self._save(
            image, quality_mode="rates", quality_layers=[24 / knob], irreversible=True, mct=1
        )

    def start(self, image: Image.Image, bpp: float) -> float | None:
        return bpp


class WebP(_Pillow):
    """libwebp, lossy, at its slowest and best setting."""

    name = "webp"
    title = "WebP"
    settings = "libwebp, method 6"
    feature, format = "webp", "WEBP"
    low, high, step = 0.0, 100.0, 0.1
    ladder = (2.0, 12.0, 30.0, 55.0, 78.0, 88.0, 94.0)
    method = 6

    def encode(self, image: Image.Image, knob: float) -> bytes:
        return self._save(image, quality=knob, method=self.method)


class Avif(_Pillow):
    """libavif with libaom at speed 6. The knob is 63 less the quantiser, in quarter steps.

    A step of the quantiser changes a file by about 6 %. Between two, AV1's `sharpness` of 6, 5
    and 4 gives sizes 1.5 to 4 % below those of the default 7 on the same rate–distortion curve.
    """

    name = "avif"
    title = "AVIF"
    settings = "libavif/libaom, speed 6, 4:2:0, 1 thread, sharpness 4-7 as fine rate control"
    feature, format = "avif", "AVIF"
    low, high, step = 0.0, 63.0, 0.25
    ladder = (8.0, 14.0, 21.0, 29.0, 38.0, 46.0, 52.0)
    threads = 1
    speed = 6

    def encode(self, image: Image.Image, knob: float) -> bytes:
        quarter = round(knob * 4)
        level, finer = -(-quarter // 4), -quarter % 4
        advanced = {"sharpness": str(7 - finer)} if finer else None
        return self._save(
            image,
            quality=100 - round((63 - level) * 100 / 63),
            speed=self.speed,
            subsampling="4:2:0",
            max_threads=self.threads,
            advanced=advanced,
        )

    def decode(self, blob: bytes) -> Image.Image:
        from PIL import AvifImagePlugin

        AvifImagePlugin.DEFAULT_MAX_THREADS = self.threads  # Pillow has no argument for it
        return super().decode(blob)


class JpegXL(MeasuredCodec):
    """libjxl in lossy VarDCT mode."""

    name = "jxl"
    title = "JPEG XL"
    settings = "libjxl through pillow-jxl-plugin, effort 7, 1 thread"
    low, high, step = 0.0, 99.9, 0.02
    ladder = (1.0, 20.0, 42.0, 64.0, 80.0, 88.0, 92.0)
    effort = 7

    def missing(self) -> str | None:
        try:
            importlib.import_module("pillow_jxl")
        except ImportError as error:
            return f"pip install pillow-jxl-plugin ({error})"
        return None

    def encode(self, image: Image.Image, knob: float) -> bytes:
        self._plugin()
        buffer = io.BytesIO()
        image.save(buffer, "JXL", quality=knob, effort=self.effort, num_threads=0)
        return buffer.getvalue()

    def decode(self, blob: bytes) -> Image.Image:
        self._plugin()
        with Image.open(io.BytesIO(blob), formats=("JXL",)) as image:
            return image.convert("RGB")

    @staticmethod
    def _plugin() -> None:
        """Register the plug-in with Pillow, and keep its decoder to one thread."""
        plugin: Any = importlib.import_module("pillow_jxl.JpegXLImagePlugin")
        plugin.DECODE_THREADS = 0  # its word for "no workers besides the caller"
