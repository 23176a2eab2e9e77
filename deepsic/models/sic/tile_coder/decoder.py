"""A tile's stream to latents."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepsic.bitstream.reader import Reader
from deepsic.coding import binarisation, context_kernels, range_coder, serial_kernels
from deepsic.errors import CorruptFileError, counted
from deepsic.models.sic.int8.integer_net import I16, U8
from deepsic.models.sic.layout import F32
from deepsic.models.sic.passes import PassPlan
from deepsic.models.sic.tile_coder.coder import Part, TileCoderBase
from deepsic.models.sic.tile_coder.tables import EntropyTables
from deepsic.models.sic.wavelet import bands

__all__ = ["TileDecoder"]


class TileDecoder(TileCoderBase):
    """Decodes a stream of a tile of height x width pixels, multiples of 32."""

    def __init__(
        self, tables: EntropyTables, quality: int, stream: bytes, height: int, width: int
    ) -> None:
        super().__init__(tables, quality, height, width)
        for own in self._streams(stream):
            data = np.frombuffer(own, np.uint8)
            self.add_part(range_coder.decoder_state(data), data)

    def _streams(self, stream: bytes) -> list[bytes | memoryview]:
        """One for each part."""
        if self.tables.streams == 1:
            return [stream]
        reader = Reader(stream, "a tile of two streams")
        first = reader.take(reader.varint())
        return [first, reader.take(reader.left)]

    def hyper(self) -> NDArray[np.int32]:
        part = self.parts[0]
        if self.serial is not None:
            z = self.bordered_hyper()
            serial_kernels.decode_hyper(
                part.state, part.data, part.states, binarisation.group_start("z"),
                self.hyper_classes[0], self.serial[1], z,
            )  # fmt: skip
            return z[1:, 1:-1]
        h, w, _ = self.hyper_shape
        symbols = np.zeros((h + 1, w + 2, bands.HYPER), np.int16)
        z_hat, seen = np.zeros(self.hyper_shape, np.float32), np.empty(self.hyper_shape, np.uint8)
        context_kernels.decode_pass(
            part.state, part.data, part.states, binarisation.group_start("z"), self.hyper_channels,
            self.hyper_means, self.hyper_classes, symbols, z_hat, seen, self.tables.grid.parts,
            self.plain, 0, h,
        )  # fmt: skip
        return z_hat.astype(np.int32)

    def lowest(self) -> NDArray[np.int32]:
        part, group = self.parts[-1], binarisation.group_start("ll")
        coder = part.state, part.data, part.states, group, self.tables.ll_classes
        if self.serial is None:
            context_kernels.decode_lowest(*coder, self.ll)
        else:
            serial_kernels.decode_lowest(*coder, self.serial[0], self.ll)
        return self.finish_lowest()

    def code(
        self, part: Part, plan: PassPlan, means: I16, classes: U8, y: F32, seen: U8, *rows: int
    ) -> None:
        context_kernels.decode_pass(
            part.state, part.data, part.states, plan.group, plan.channels, means, classes,
            part.symbols[plan.tensor], y, seen, self.tables.grid.parts, self.hiding, *rows,
        )  # fmt: skip

    def finish(self) -> None:
        """Check that no stream was longer than what was read.

        Raises:
            CorruptFileError: bytes are left over.
        """
        left = sum(
            max(0, len(part.data) - int(part.state[range_coder.POSITION])) for part in self.parts
        )
        if left > 0:
            raise CorruptFileError(f"{counted(left, 'byte')} after the last symbol")
