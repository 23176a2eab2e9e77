"""Our own codec, as the measurements see it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from deepsic import weights, zoo
from deepsic.errors import UsageError, counted
from deepsic.evaluation.baselines.base import MeasuredCodec

if TYPE_CHECKING:
    from deepsic.codec import Codec
    from deepsic.refiner import Look, Refiner

__all__ = ["Sic"]


class Sic(MeasuredCodec):
    """A model of ours: a shipped name or the path of a model file. The knob is quality, 1 to 100.

    No labels are stored, as no baseline stores any. With networks, each file is refined for them.
    """

    settings = "whole .sic files without labels; torch threads as set by the caller"
    low, high, step = 1.0, 100.0, 1.0
    ladder = (5.0, 20.0, 35.0, 50.0, 65.0, 80.0, 92.0)

    def __init__(
        self, model: str = "sic", networks: Sequence[str] = (), steps: int | None = None
    ) -> None:
        self.model = model
        self.networks, self.steps = tuple(networks), steps
        self.name = model if not _is_path(model) else Path(model).stem
        self.title = f"DeepSIC {self.name}"
        if networks:
            self.name += "@" + "+".join(networks)
            self.title += f", refined for {', '.join(networks)}"
            self.settings += f"; refined for {', '.join(networks)}, "
            self.settings += f"{counted(steps, 'step')}" if steps else "as Refiner.load has it"
            self.rate_control = True
            if steps:
                self.name += f":{steps}"
                self.title += f" in {counted(steps, 'step')}"

    @classmethod
    def parse(cls, text: str) -> Sic:
        """MODEL, or MODEL@NETWORK+NETWORK for files refined for classifiers; :STEPS behind says in
        how many steps, 1 for one look.

        Raises: `UsageError` for a classifier that isn't known.
        """
        model, at, rest = text.rpartition("@")
        if not at or _is_path(rest):  # a path may hold an @ of its own
            return cls(text)
        from deepsic.tasks import check_classifier

        rest, _, steps = rest.partition(":")
        if steps and (not steps.isdecimal() or int(steps) < 1):
            raise UsageError(f"{text!r}: {steps!r} is no number of steps, 1 or more")
        networks = rest.split("+")
        for name in networks:
            check_classifier(name)
        return cls(model, networks, int(steps) if steps else None)

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

    @cached_property
    def refiner(self) -> Refiner | Look | None:
        """What refines, loaded when first used; None if nothing does."""
        from deepsic.refiner import load_refiner

        return load_refiner(self.model, self.networks, steps=self.steps) if self.networks else None

    def encode(self, image: Image.Image, knob: float) -> bytes:
        return self.codec.encode(image, quality=round(knob), refiner=self.refiner, labels=False)

    def at_rate(self, image: Image.Image, bpp: float) -> bytes | None:
        try:
            return self.codec.encode(image, bpp=bpp, refiner=self.refiner, labels=False)
        except UsageError:  # its smallest file is larger
            return None

    def decode(self, blob: bytes) -> Image.Image:
        return self.codec.decode(blob).convert("RGB")

    def __getstate__(self) -> dict[str, object]:
        """Travel to a worker without what was loaded."""
        return {k: value for k, value in vars(self).items() if k not in ("codec", "refiner")}


def _is_path(model: str) -> bool:
    return "/" in model or model.endswith(".safetensors")
