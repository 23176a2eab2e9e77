"""What a codec is to the measurements."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass

from PIL import Image

from deepsic.errors import InputError

__all__ = ["EncodedFile", "MeasuredCodec", "decode_timed", "encode_timed"]


class MeasuredCodec(ABC):
    """A codec with one knob; larger means a larger file and a better image."""

    name: str
    """Short and unique: "jpeg2000"."""
    title: str
    """For people: "JPEG 2000"."""
    settings: str
    """Everything that decides the bytes but the knob, for the report."""
    low: float
    """Knob of the smallest file."""
    high: float
    """Knob of the largest file."""
    step: float
    """Distance between two knobs below which files don't differ."""
    ladder: tuple[float, ...]
    """Knobs for a rate-distortion curve over the useful rates, ascending."""

    rate_control = False
    """Whether `at_rate` is to be asked first: its search is better than one over the knob."""

    def identity(self) -> str:
        """What results depend on: two coders that agree in it give the same files."""
        return f"{self.settings}; {self.ladder}"

    @abstractmethod
    def encode(self, image: Image.Image, knob: float) -> bytes:
        """Encode an RGB image to a whole file."""

    @abstractmethod
    def decode(self, blob: bytes) -> Image.Image:
        """Decode a whole file to an RGB image."""

    def missing(self) -> str | None:
        """Why this codec can't run here, for the user; None if it can."""
        return None

    def at_rate(self, image: Image.Image, bpp: float) -> bytes | None:
        """A file of about `bpp` by the codec's own rate control; None if it has none or can't."""
        return None

    def start(self, image: Image.Image, bpp: float) -> float | None:
        """A good first knob for `bpp`, where the codec knows one."""
        return None


@dataclass(frozen=True, kw_only=True)
class EncodedFile:
    """One whole file and what making it took."""

    blob: bytes
    knob: float | None
    """None: the codec's own rate control chose."""
    seconds: float


def encode_timed(coder: MeasuredCodec, image: Image.Image, knob: float) -> EncodedFile:
    """Encode, and take the wall-clock time.

    Raises: `InputError` naming the codec when it refuses the image.
    """
    started = time.perf_counter()
    try:
        blob = coder.encode(image, knob)
    except (OSError, ValueError, RuntimeError, NotImplementedError) as error:
        raise InputError(f"{coder.name} can't encode {image.width}x{image.height}: {error}") from (
            error
        )
    return EncodedFile(blob=blob, knob=knob, seconds=time.perf_counter() - started)


def decode_timed(coder: MeasuredCodec, blob: bytes) -> tuple[Image.Image, float]:
    """Decode to RGB, and take the wall-clock time, seconds.

    Raises: `InputError` naming the codec when its own file doesn't decode.
    """
    started = time.perf_counter()
    try:
        image = coder.decode(blob)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{coder.name} can't decode its own file: {error}") from error
    return image, time.perf_counter() - started
