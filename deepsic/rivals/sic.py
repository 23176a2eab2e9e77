"""Our own codec, as the measurements see it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from deepsic import weights, zoo
from deepsic.errors import UsageError
from deepsic.rivals.base import Coder

if TYPE_CHECKING:
    from deepsic.codec import Codec

__all__ = ["Sic"]


class Sic(Coder):
    """A model of ours: a shipped name or the path of a model file. The knob is quality, 1 to 100.

    No labels are stored, as no rival stores any.
    """

    settings = "whole .sic files without labels; torch threads as set by the caller"
    low, high, step = 1.0, 100.0, 1.0
    ladder = (5.0, 20.0, 35.0, 50.0, 65.0, 80.0, 92.0)

    def __init__(self, model: str = "sic") -> None:
        self.model = model
        self.name = model if not _is_path(model) else Path(model).stem
        self.title = f"DeepSIC {self.name}"

    @staticmethod
    def shipped() -> list[str]:
        """Names of the models that ship."""
        return zoo.names()

    def missing(self) -> str | None:
        if _is_path(self.model):
            return None if Path(self.model).is_file() else f"no model file at {self.model}"
        if self.model in zoo.names():
            return None
        return f"no model {self.model!r} ships with this version"

    def identity(self) -> str:
        return f"{super().identity()}; {weights.identity_of(weights.resolve(self.model)).hex()}"

    @cached_property
    def codec(self) -> Codec:
        """The model, loaded when first used, once in a process."""
        from deepsic.codec import Codec

        return Codec.load(self.model)

    def encode(self, image: Image.Image, knob: float) -> bytes:
        return self.codec.encode(image, quality=round(knob))

    def at_rate(self, image: Image.Image, bpp: float) -> bytes | None:
        try:
            return self.codec.encode(image, bpp=bpp)
        except UsageError:  # its smallest file is larger
            return None

    def decode(self, blob: bytes) -> Image.Image:
        return self.codec.decode(blob).convert("RGB")

    def __getstate__(self) -> dict[str, object]:
        """Travel to a worker without the loaded model."""
        return {key: value for key, value in vars(self).items() if key != "codec"}


def _is_path(model: str) -> bool:
    return "/" in model or model.endswith(".safetensors")
