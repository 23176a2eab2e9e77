"""CompressAI's models from checkpoints that the user has; nothing is downloaded.

    compressai:mbt2018-mean=mbt-1.pth.tar,mbt-4.pth.tar,mbt-8.pth.tar

Each checkpoint is one rate. The file counted is all strings and the lengths and shapes
that a decoder needs (18 bytes); CompressAI's own figures count the strings alone.
"""

from __future__ import annotations

import importlib
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from deepsic.errors import InputError, UsageError
from deepsic.evaluation.baselines.base import MeasuredCodec

__all__ = ["CompressAI"]

_MULTIPLE = 64  # sides must be whole numbers of the hyper-latent's samples


@dataclass
class _Rate:
    path: Path
    model: Any = None


class CompressAI(MeasuredCodec):
    """One architecture of the zoo; the knob is the number of a checkpoint, smallest file first."""

    settings = "CompressAI, range coder, strings with their lengths and shapes"
    low, step = 0.0, 1.0

    def __init__(self, architecture: str, checkpoints: list[Path]) -> None:
        if not checkpoints:
            raise UsageError(
                "compressai:ARCHITECTURE=CHECKPOINT[,CHECKPOINT...] needs a checkpoint"
            )
        self.name = architecture
        self.title = f"CompressAI {architecture}"
        self.rates = [_Rate(path) for path in checkpoints]
        self.high = float(len(checkpoints) - 1)
        self.ladder = tuple(float(index) for index in range(len(checkpoints)))
        self.architecture = architecture

    @classmethod
    def parse(cls, text: str) -> CompressAI:
        """Make it from `ARCHITECTURE=CHECKPOINT[,CHECKPOINT...]`, smallest rate first."""
        architecture, _, paths = text.partition("=")
        return cls(architecture, [Path(path) for path in paths.split(",") if path])

    def identity(self) -> str:
        paths = [rate.path for rate in self.rates]
        return f"{super().identity()}; {[(str(p), p.stat().st_size) for p in paths]}"

    def missing(self) -> str | None:
        absent = [str(rate.path) for rate in self.rates if not rate.path.is_file()]
        if absent:
            return f"no checkpoint at {', '.join(absent)}"
        try:
            zoo = importlib.import_module("compressai.zoo")
        except ImportError as error:
            return f"pip install compressai, in an environment with numpy<2 ({error})"
        if self.architecture not in zoo.image_models:
            return f"CompressAI has no model {self.architecture!r}"
        return None

    def encode(self, image: Image.Image, knob: float) -> bytes:
        import torch

        pixels = np.asarray(image)
        height, width = pixels.shape[:2]
        bottom, right = -height % _MULTIPLE, -width % _MULTIPLE
        x_1CHW = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
        x_1CHW = torch.nn.functional.pad(x_1CHW, (0, right, 0, bottom), mode="replicate")
        with torch.no_grad():
            made = self._model(int(knob)).compress(x_1CHW)
        strings = [part[0] for part in made["strings"]]
        head = struct.pack("<BBHHHH", int(knob), len(strings), width, height, *made["shape"])
        return head + b"".join(struct.pack("<I", len(part)) + part for part in strings)

    def decode(self, blob: bytes) -> Image.Image:
        import torch

        number, count, width, height, rows, columns = struct.unpack_from("<BBHHHH", blob)
        at, strings = 10, []
        for _ in range(count):
            (length,) = struct.unpack_from("<I", blob, at)
            strings.append([blob[at + 4 : at + 4 + length]])
            at += 4 + length
        with torch.no_grad():
            made = self._model(number).decompress(strings, (rows, columns))["x_hat"]
        x_HWC = made[0, :, :height, :width].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0)
        return Image.fromarray(x_HWC.contiguous().numpy())

    def _model(self, number: int) -> Any:
        import torch

        rate = self.rates[number]
        if rate.model is None:
            zoo = importlib.import_module("compressai.zoo.image")
            try:
                state = torch.load(rate.path, map_location="cpu", weights_only=True)
                state = state.get("state_dict", state)
                made = zoo.model_architectures[self.architecture].from_state_dict(state)
            except (OSError, RuntimeError, KeyError, AttributeError) as error:
                raise InputError(f"{rate.path}: not weights of {self.architecture}: {error}") from (
                    error
                )
            made.eval()
            made.update(force=True)
            rate.model = made
        return rate.model

    def __getstate__(self) -> dict[str, object]:
        """Travel to a worker without the loaded models."""
        return vars(self) | {"rates": [_Rate(rate.path) for rate in self.rates]}
