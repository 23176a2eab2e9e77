"""Presets `deepsic-pre` and `deepsic-post` at inference: windows of an image to streams and back.

It has the methods of `SicEngine`, so that the codec doesn't know which it holds. Features stand
where `sic` has its first latents, at the net's own stride; nothing stands in the second place.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepsic.coding import bit_planes, range_coder
from deepsic.errors import CorruptFileError, counted
from deepsic.models.fourstage.bits import BitTables, Sight, bordered
from deepsic.models.fourstage.net import FourStageNet
from deepsic.models.fourstage.quantiser import round_levels
from deepsic.models.fourstage.semantic import WholeModule, resized
from deepsic.models.quality import position
from deepsic.models.semantic.head_input import position_at
from deepsic.models.tiles.tiling import Latents

__all__ = ["FourStageEngine"]

F32 = NDArray[np.float32]
I16 = NDArray[np.int16]


class FourStageEngine:
    """A loaded model of the first paper's presets; stateless between calls."""

    def __init__(self, net: FourStageNet, tables: BitTables, device: torch.device) -> None:
        self.net = net.eval().requires_grad_(False).to(device)
        self.tables = tables
        self.device = device
        self.strides = (net.config.stride, net.config.stride)
        """Pixels a side behind each vector of the two latents."""
        self.look = net.config.semantics
        """Where labels come from: "pre", the encoder, or "post", the decoded features."""

    def _position(self, quality: int) -> Tensor:
        return torch.tensor([position(float(quality))], dtype=torch.float32, device=self.device)

    @torch.inference_mode()
    def analyse(self, rgb: NDArray[np.uint8], quality: int) -> tuple[F32, F32, Tensor]:
        """Features in levels (H/s, W/s, C), not yet rounded, nothing, and the float features."""
        x = torch.from_numpy(np.array(rgb)).to(self.device)
        f, w = self.net.analyse(x.permute(2, 0, 1)[None].float(), self._position(quality))
        levels = np.ascontiguousarray(w[0].permute(1, 2, 0).cpu().numpy())
        return levels, _nothing(levels), f

    def symbols(self, v8: F32, zone: float = 1.0) -> I16:
        """Eq. 1 on features in levels: whole levels (H/s, W/s, C), counted from rest.

        Args:
            v8: from `analyse`.
            zone: stretch of the dead zone, at least 1; more saves bits.
        """
        c = self.net.config
        dead = min(0.49, c.dead_zone + 0.16 * (zone - 1))
        n = round_levels(torch.from_numpy(v8), c.bits, dead).numpy()
        counted: I16 = (n - self.tables.rest).astype(np.int16)
        return counted

    def sight(self, rgb: NDArray[np.uint8], quality: int) -> Sight:
        """What the bit classifier is trained on."""
        return Sight(m=bordered(self.symbols(self.analyse(rgb, quality)[0])), quality=quality)

    def encode(self, v8: F32, v16: F32, quality: int, zone: float = 1.0) -> bytes:
        """Stream of a tile's features: six planes through the trained contexts."""
        m = bordered(self.symbols(v8, zone))
        state, out = range_coder.encoder_state(), np.empty(2 * v8.size + 1024, np.uint8)
        states = self.tables.states()
        bit_planes.encode_planes(state, out, states, m, *self.tables.arrays(), quality, 1)
        return out[: range_coder.finish(state, out)].tobytes()

    def decode(self, stream: bytes, height: int, width: int, quality: int) -> tuple[F32, F32]:
        """Dequantised features in levels of a tile of height x width pixels.

        Raises:
            CorruptFileError: bytes are left over.
        """
        s, channels = self.strides[0], self.net.config.filters
        m = np.zeros((channels, height // s + 2, width // s + 4), np.int16)
        data = np.frombuffer(stream, np.uint8)
        state = range_coder.decoder_state(data)
        states = self.tables.states()
        bit_planes.decode_planes(state, data, states, m, *self.tables.arrays(), quality, 1)
        if len(data) > int(state[range_coder.POSITION]):
            left = len(data) - int(state[range_coder.POSITION])
            raise CorruptFileError(f"{counted(left, 'byte')} after the last symbol")
        n = m[:, 1:-1, 2:-2].transpose(1, 2, 0) + self.tables.rest
        levels = np.ascontiguousarray(n, np.float32)
        return levels, _nothing(levels)

    @torch.inference_mode()
    def synthesise(self, latents: Latents, quality: int) -> NDArray[np.uint8]:
        """Image (H, W, 3) of decoded features in levels."""
        at = self._position(quality)
        x_hat = self.net.synthesise(self.net.dequantise(self._planes(latents[0]), at), at)
        rgb: NDArray[np.uint8] = (
            x_hat[0].permute(1, 2, 0).round().clamp(0, 255).byte().cpu().numpy()
        )
        return rgb

    @torch.inference_mode()
    def chances(self, v8: F32, v16: F32, quality: int) -> F32:
        """Softmax of Fig. 4, (classes,): of `analyse`'s levels (pre) or of `decode`'s (post)."""
        semantic, seen = self.net.semantic, self.seen(v8, quality)
        place = self._position(quality)
        if isinstance(semantic, WholeModule):
            at = position_at(float(position(float(quality))), *seen.shape[2:])
            place, seen = torch.full_like(place, at), resized(seen)
        logits = semantic.classify(semantic.stem_features(seen, place))
        chances: F32 = logits.softmax(1)[0].cpu().numpy()
        return chances

    @torch.inference_mode()
    def seen(self, v8: F32, quality: int, rounded: bool | None = None) -> Tensor:
        """What the semantic module's convolutions see: (1, C, H/s, W/s), within `BOUND`; of a
        `WholeModule` (1, 3, H, W), 0 .. 255.

        Args:
            v8: from `analyse`, or from `decode`.
            rounded: whether as the decoder has it; None: as the preset says.
        """
        after = self.look == "post" if rounded is None else rounded
        f = self.net.shared(self._planes(v8), self._position(quality), after)
        return self.net.semantic.seen(f)

    def _planes(self, v8: F32) -> Tensor:
        return torch.from_numpy(v8).to(self.device).permute(2, 0, 1)[None]


def _nothing(levels: F32) -> F32:
    return np.zeros((*levels.shape[:2], 0), np.float32)
