"""How damaged images of one kind are met: what is wrong with it, line by line."""

from __future__ import annotations

import io
import warnings
from functools import cache
from pathlib import Path

from PIL import Image

from deepsic.codec import Codec
from deepsic.errors import DeepsicError, InputError, UnsupportedImageError
from deepsic.image_io.decoders import known_formats
from deepsic.image_io.load import LoadedImage, load_image
from deepsic.image_io.save import image_bytes
from tests.fuzz import kinds
from tests.fuzz.damage import Cost, damaged, measured

__all__ = ["faults_of"]

SECONDS, BYTES = 1.0, 1 << 30
"""What any file may cost."""
LARGE = 800
"""Side of the sound image whose price a pixel is asked, where a file costs more than that."""
SMALL_PIXELS, EVERY = 100_000, 20
"""Of images up to that size, one in so many is encoded, and written in other formats, too."""
_MODEL = Path(__file__).parents[1] / "golden" / "codec" / "small.safetensors"


def faults_of(kind: str, count: int, *, encode: bool) -> list[str]:
    """Everything that is wrong with how `count` mutations of a kind are met."""
    warnings.simplefilter("ignore")
    codec = _codec() if encode else None
    faults = []
    data = kinds.sound(kind)
    for seed in range(count):
        printed = _faults(kind, damaged(data, seed), codec if seed % EVERY == 0 else None)
        faults += [f"{kind}, seed {seed}: {fault}" for fault in printed]
    return faults


def _faults(kind: str, data: bytes, codec: Codec | None) -> list[str]:
    faults: list[str] = []
    loaded: list[LoadedImage] = []

    def load() -> None:
        try:
            loaded.append(load_image(data))
        except DeepsicError as error:
            if type(error) is InputError and _is_sound(data):
                faults.append(f"a sound image is refused: {error}")
        except BaseException as error:
            faults.append(f"{type(error).__name__} in loading: {error}")

    cost = measured(load)
    if cost.seconds > SECONDS or cost.bytes > BYTES:
        pixels, price = _claimed(data), _price(kind)
        if cost.seconds > max(SECONDS, 1.5 * price.seconds * pixels):
            faults.append(f"{cost.seconds:.1f} s for {pixels:,} pixels")
        if cost.bytes > max(BYTES, 1.5 * price.bytes * pixels):
            faults.append(f"{cost.bytes >> 20} MiB for {pixels:,} pixels")
    for picture in loaded:
        if codec is not None and picture.rgb.size <= 3 * SMALL_PIXELS:
            faults += _further_faults(picture, codec)
    return faults


def _further_faults(picture: LoadedImage, codec: Codec) -> list[str]:
    """Of an image that could be loaded: it encodes, and can be written as other formats."""
    try:
        back = codec.decode(codec.encode(picture, quality=20))
        for suffix in (".png", ".webp", ".tif", ".avif"):
            image_bytes(back, suffix)
    except BaseException as error:
        return [f"{type(error).__name__} behind loading: {error}"]
    return [] if back.size == picture.size else [f"{back.size} of {picture.size}"]


@cache
def _codec() -> Codec:
    return Codec.load(_MODEL, device="cpu")


@cache
def _price(kind: str) -> Cost:
    """What a pixel of a large sound image costs, seconds and bytes."""
    side = 256 if kind in kinds.FIXED else LARGE
    data = kinds.sound(kind, side, side)
    pixels = []

    def load() -> None:
        try:
            width, height = load_image(data).size
        except UnsupportedImageError:
            width = height = side
        pixels.append(width * height)

    cost = measured(load)
    return Cost(seconds=cost.seconds / pixels[0], bytes=cost.bytes // pixels[0] + 1)


def _claimed(data: bytes) -> int:
    """Pixels that a file's header claims, as far as Pillow reads it."""
    try:
        with Image.open(io.BytesIO(data), formats=known_formats()) as image:
            return image.width * image.height
    except Exception:  # what decoders raise has no common class
        return 0


def _is_sound(data: bytes) -> bool:
    """Whether Pillow itself reads every pixel of the only image in a file."""
    try:
        with Image.open(io.BytesIO(data), formats=known_formats()) as image:
            frames = getattr(image, "n_frames", 1)
            image.load()
            return frames == 1
    except Exception:  # as above
        return False
