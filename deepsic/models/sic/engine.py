"""`sic` at inference: windows of a picture to streams and back."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from deepsic.models.quality import HALVES, HIDING
from deepsic.models.sic.layout import F32
from deepsic.models.sic.probability import LEVELS, ProbabilityModel
from deepsic.models.sic.tile_coder.decoder import TileDecoder
from deepsic.models.sic.tile_coder.encoder import TileEncoder
from deepsic.models.tiles.tiling import Latents


class Transforms(Protocol):
    """Pictures to latents and back: `ByteTransforms` on a CPU, `TransformRunner` with torch."""

    tunings: int
    wide: bool
    with_state: bool

    def tuned(self, tuning: int) -> Any: ...
    def steps(self, quality: int) -> tuple[float, F32, F32]: ...
    def analyse(self, rgb: NDArray[np.uint8], quality: int) -> tuple[F32, F32, Any]: ...
    def analyse_quickly(self, rgb: NDArray[np.uint8], quality: int) -> tuple[F32, F32]: ...
    def hyper(self, v8: F32, v16: F32, quality: int) -> F32: ...
    def synthesise(self, latents: Latents, quality: int) -> NDArray[np.uint8]: ...
    def synthesise_scaled(
        self, latents: Latents, quality: int, shift: int
    ) -> NDArray[np.uint8]: ...


class SicEngine:
    """Transforms and probability model of one loaded model; stateless between calls."""

    def __init__(self, transforms: Transforms, probabilities: ProbabilityModel) -> None:
        self.transforms = transforms
        self.probabilities = probabilities
        self.tunings = transforms.tunings
        """How many ways there are to tune it: 1, or 2 with structural similarity."""
        self.coders = tuple(range(self.tunings))
        """Numbers of the coders that it knows, see `tuned`."""
        if transforms.with_state:
            for more in (HIDING, HALVES):
                self.coders += tuple(more + number for number in self.coders)
        self.strides = (8, 16, 8) if transforms.with_state else (8, 16)
        """Pixels a side behind each vector of the arrays that `decode` gives."""

    def tuned(self, coder: int) -> SicEngine:
        """The engine of one coder: a tuning by its number in `deepsic.models.quality.TUNINGS`,
        `HIDING` more where signs are hidden, `HALVES` more where a tile has two streams."""
        tuning = coder % HALVES % HIDING
        return SicEngine(self.transforms.tuned(tuning), self.probabilities.tuned(coder))

    def analyse(self, rgb: NDArray[np.uint8], quality: int) -> tuple[F32, F32, Any]:
        """Latents in steps and semantic features of a window, see `ByteTransforms.analyse`."""
        return self.transforms.analyse(rgb, quality)

    def analyse_quickly(self, rgb: NDArray[np.uint8], quality: int) -> tuple[F32, F32]:
        """Latents in steps of a window, by the wavelet alone."""
        return self.transforms.analyse_quickly(rgb, quality)

    def encode(self, v8: F32, v16: F32, quality: int, zone: float = 1.0) -> bytes:
        """Stream of a tile's latents in steps; `zone` stretches the dead zones."""
        code = self._encoder(v8, v16, quality, zone)
        self.probabilities.run(code, quality)
        return code.finish()

    def coded(self, v8: F32, v16: F32, quality: int, zone: float = 1.0) -> tuple[bytes, Latents]:
        """What `encode` gives, and what a decoder would have of it: what `synthesise` takes."""
        code = self._encoder(v8, v16, quality, zone)
        latents = self._run(code, quality)
        return code.finish(), latents

    def _encoder(self, v8: F32, v16: F32, quality: int, zone: float) -> TileEncoder:
        z = self.transforms.hyper(v8, v16, quality)
        tables = self.probabilities.tables
        return TileEncoder(tables, quality, (v8, v16, z), tables.zone * np.float32(zone))

    def decode(self, stream: bytes, height: int, width: int, quality: int) -> Latents:
        """What `synthesise` takes, of a tile of height x width pixels, multiples of 32."""
        code = TileDecoder(self.probabilities.tables, quality, stream, height, width)
        latents = self._run(code, quality)
        code.finish()
        return latents

    def _run(self, code: TileEncoder | TileDecoder, quality: int) -> Latents:
        """All passes of a tile; what `synthesise` takes."""
        state = self.probabilities.run(code, quality)
        return (code.y8, code.y16, state) if self.transforms.with_state else (code.y8, code.y16)

    def decode_scaled(
        self, stream: bytes, height: int, width: int, quality: int, shift: int
    ) -> Latents:
        """Latents of the levels that a picture with sides halved `shift` times needs."""
        code = TileDecoder(self.probabilities.tables, quality, stream, height, width)
        self.probabilities.run(code, quality, last=LEVELS[shift])
        return code.y8, code.y16

    def synthesise_scaled(self, latents: Latents, quality: int, shift: int) -> NDArray[np.uint8]:
        """Picture (H >> shift, W >> shift, 3), see `ByteTransforms.synthesise_scaled`."""
        return self.transforms.synthesise_scaled(latents, quality, shift)

    def synthesise(self, latents: Latents, quality: int) -> NDArray[np.uint8]:
        """Picture (H, W, 3) of decoded latents, see `ByteTransforms.synthesise`."""
        return self.transforms.synthesise(latents, quality)
