"""A tile's stream to latents."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepsic.coding import binarisation, context_kernels, range_coder, serial_kernels
from deepsic.errors import CorruptFileError, counted
from deepsic.models.sic.int8.integer_net import I16, U8
from deepsic.models.sic.layout import F32
from deepsic.models.sic.passes import PassPlan
from deepsic.models.sic.tile_coder.coder import Base
from deepsic.models.sic.tile_coder.tables import EntropyTables
from deepsic.models.sic.wavelet import bands

__all__ = ["TileDecoder"]


class TileDecoder(Base):
    """Decodes a stream of a tile of height x width pixels, multiples of 32."""

    def __init__(
        self, tables: EntropyTables, quality: int, stream: bytes, height: int, width: int
    ) -> None:
        super().__init__(tables, quality, height, width)
        self.data = np.frombuffer(stream, np.uint8)
        self.state = range_coder.decoder_state(self.data)

    def hyper(self) -> NDArray[np.int32]:
        if self.serial is not None:
            z = self.bordered_hyper()
            serial_kernels.decode_hyper(
                self.state, self.data, self.states, binarisation.group_start("z"),
                self.hyper_classes[0], self.serial[1], z,
            )  # fmt: skip
            return z[1:, 1:-1]
        h, w, _ = self.hyper_shape
        symbols = np.zeros((h + 1, w + 2, bands.HYPER), np.int16)
        z_hat, seen = np.zeros(self.hyper_shape, np.float32), np.empty(self.hyper_shape, np.uint8)
        context_kernels.decode_pass(
            self.state, self.data, self.states, binarisation.group_start("z"), self.hyper_channels,
            self.hyper_means, self.hyper_classes, symbols, z_hat, seen, self.tables.grid.parts,
            self.plain, 0, h,
        )  # fmt: skip
        return z_hat.astype(np.int32)

    def lowest(self) -> NDArray[np.int32]:
        group = binarisation.group_start("ll")
        coder = self.state, self.data, self.states, group, self.tables.ll_classes
        if self.serial is None:
            context_kernels.decode_lowest(*coder, self.ll)
        else:
            serial_kernels.decode_lowest(*coder, self.serial[0], self.ll)
        return self.finish_lowest()

    def code(
        self, plan: PassPlan, means: I16, classes: U8, symbols: I16, y: F32, seen: U8, *rows: int
    ) -> None:
        context_kernels.decode_pass(
            self.state, self.data, self.states, plan.group, plan.channels, means, classes, symbols,
            y, seen, self.tables.grid.parts, self.hiding, *rows,
        )  # fmt: skip

    def finish(self) -> None:
        """Check that the stream wasn't longer than what was read.

        Raises:
            CorruptFileError: bytes are left over.
        """
        left = len(self.data) - int(self.state[range_coder.POSITION])
        if left > 0:
            raise CorruptFileError(f"{counted(left, 'byte')} after the last symbol")
