"""Preset `saic` at inference: windows of an image to bits and back.

It has the methods of `SicEngine`, so that the codec doesn't know which it holds. The stream is q,
eight bits a byte: the rate is fixed, nothing is modelled. Quality means nothing here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepsic.errors import CorruptFileError, UnknownModelError
from deepsic.models.saic.net import PATCH, BinaryConfig, BinaryNet, binarise
from deepsic.models.tiles.tiling import Latents
from deepsic.weights import ModelFile

__all__ = ["BinaryEngine", "pack_binary", "reader_of", "restore", "unpack_binary"]

F32 = NDArray[np.float32]
_COARSE = 16


class BinaryEngine:
    """A loaded `saic` model; stateless between calls."""

    strides = (PATCH, _COARSE)

    def __init__(self, net: BinaryNet, device: torch.device) -> None:
        self.net = net.eval().requires_grad_(False).to(device)
        self.device = device

    @torch.inference_mode()
    def analyse(self, rgb: NDArray[np.uint8], quality: int) -> tuple[F32, F32, Tensor]:
        """q (H/8, W/8, bits) of a window, nothing at 1/16, and e as features."""
        x = torch.tensor(rgb, device=self.device)  # a copy: `rgb` may be read-only
        e = self.net.encode(x.permute(2, 0, 1)[None].float())
        q = binarise(e)[0].permute(1, 2, 0).cpu().numpy()
        return np.ascontiguousarray(q), _nothing(*rgb.shape[:2]), e

    def encode(self, v8: F32, v16: F32, quality: int, zone: float = 1.0) -> bytes:
        """Bits of a tile, rows of patches, eight a byte."""
        return np.packbits(v8 > 0.5).tobytes()

    def decode(self, stream: bytes, height: int, width: int, quality: int) -> tuple[F32, F32]:
        """q of a tile of height x width pixels.

        Raises:
            CorruptFileError: the stream is not as long as a tile's.
        """
        shape = (height // PATCH, width // PATCH, self.net.config.bits)
        count = int(np.prod(shape))
        if len(stream) != -(-count // 8):
            raise CorruptFileError(f"tile of {len(stream)} bytes where {-(-count // 8)} were due")
        bits = np.unpackbits(np.frombuffer(stream, np.uint8), count=count)
        return bits.reshape(shape).astype(np.float32), _nothing(height, width)

    @torch.inference_mode()
    def synthesise(self, latents: Latents, quality: int) -> NDArray[np.uint8]:
        """Image (H, W, 3) of q."""
        q = torch.from_numpy(latents[0]).to(self.device).permute(2, 0, 1)[None]
        x_hat = self.net.decode(q)[0].permute(1, 2, 0)
        rgb: NDArray[np.uint8] = x_hat.round().clamp(0, 255).byte().cpu().numpy()
        return rgb


def _nothing(height: int, width: int) -> F32:
    return np.zeros((height // _COARSE, width // _COARSE, 0), np.float32)


def pack_binary(
    net: BinaryNet, images: Sequence[NDArray[np.uint8]] = (), **fields: Any
) -> ModelFile:
    """Model file of a trained net; `fields` are label_set and provenance.

    `images`, which other presets measure on, are not looked at.
    """
    tensors = {f"net.{name}": value.detach() for name, value in net.state_dict().items()}
    return ModelFile(preset="saic", config=asdict(net.config), tensors=tensors, **fields)


def unpack_binary(model: ModelFile, device: torch.device) -> BinaryEngine:
    """What codes with a model.

    Raises:
        UnknownModelError: tensors are missing or of the wrong shape.
    """
    try:
        net = BinaryNet(BinaryConfig(**model.config))
        net.load_state_dict({name[4:]: value for name, value in model.tensors.items()})
    except (RuntimeError, TypeError) as error:
        raise UnknownModelError(f"model file is incomplete: {error}") from None
    return BinaryEngine(net, device)


def restore(model: ModelFile) -> BinaryNet:
    """A net to train on. Raises as `unpack_binary`."""
    return unpack_binary(model, torch.device("cpu")).net.requires_grad_(True)


def reader_of(model: ModelFile, engine: BinaryEngine) -> None:
    """None: this preset reads no labels."""
