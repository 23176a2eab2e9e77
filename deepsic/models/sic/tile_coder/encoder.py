"""Latents to a tile's stream."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepsic.bitstream.reader import varint
from deepsic.coding import binarisation, context_kernels, range_coder, scratch, serial_kernels
from deepsic.models.sic.int8.integer_net import I16, U8
from deepsic.models.sic.layout import F32
from deepsic.models.sic.passes import PassPlan
from deepsic.models.sic.tile_coder.coder import Part, TileCoderBase
from deepsic.models.sic.tile_coder.tables import EntropyTables
from deepsic.models.sic.wavelet import bands

__all__ = ["MARKS", "TileEncoder"]

MARKS = 4
"""What serial encoding says of each symbol: class, n, context of the sign, the symbol."""


class TileEncoder(TileCoderBase):
    """Codes latents in steps: v8 (H/8, W/8, 189), v16 (H/16, W/16, 12), z (H/32, W/32, 24)."""

    def __init__(
        self, tables: EntropyTables, quality: int, latents: tuple[F32, F32, F32],
        zone: F32 | None = None,
    ) -> None:  # fmt: skip
        v8, v16, z = (np.ascontiguousarray(v) for v in latents)
        super().__init__(tables, quality, 8 * v8.shape[0], 8 * v8.shape[1])
        self.v8, self.v16, self.z = v8, v16, z
        self.zone = tables.zone if zone is None else zone
        # Latents that are fitted to networks are rounded to the nearest, and hide no signs.
        self.serial_zone = tables.zone if tables.hides else np.zeros_like(tables.zone)
        # Nothing costs more than 40 bits a symbol (8-bit pictures keep symbols below 2^15).
        room = 6 * (v8.size + v16.size + z.size) + 64
        for _ in range(tables.streams):
            self.add_part(range_coder.encoder_state(), scratch.empty((room,), np.uint8))

    def hyper(self) -> NDArray[np.int32]:
        part = self.parts[0]
        if self.serial is not None:
            z = self.bordered_hyper()
            self.hyper_marks = np.empty((*self.hyper_shape, MARKS), np.int32)
            serial_kernels.encode_hyper(
                part.state, part.data, part.states, binarisation.group_start("z"), self.z,
                self.hyper_classes[0], self.serial_zone, self.serial[1], z, self.hyper_marks,
            )  # fmt: skip
            return z[1:, 1:-1]
        h, w, _ = self.hyper_shape
        symbols = np.zeros((h + 1, w + 2, bands.HYPER), np.int16)
        z_hat, seen = np.zeros(self.hyper_shape, np.float32), np.empty(self.hyper_shape, np.uint8)
        group = binarisation.group_start("z")
        context_kernels.quantise_pass(
            group, self.z, self.hyper_channels, self.hyper_means, self.hyper_classes,
            np.zeros(64, np.float32), symbols, z_hat, seen, self.tables.grid.parts, self.plain, 0,
            h,
        )  # fmt: skip
        context_kernels.encode_pass(
            part.state, part.data, part.states, group, self.hyper_channels, self.hyper_classes,
            symbols, self.plain, 0, h,
        )  # fmt: skip
        return z_hat.astype(np.int32)

    def lowest(self) -> NDArray[np.int32]:
        part, group = self.parts[-1], binarisation.group_start("ll")
        coder = part.state, part.data, part.states, group, self.v16, self.tables.ll_classes
        if self.serial is None:
            context_kernels.encode_lowest(*coder, self.ll)
        else:
            self.lowest_marks = np.empty((*self.v16.shape[:2], bands.LL, MARKS), np.int32)
            serial = self.serial_zone, self.serial[0], self.ll, self.lowest_marks
            serial_kernels.encode_lowest(*coder, *serial)
        return self.finish_lowest()

    def settle(
        self, part: Part, plan: PassPlan, means: I16, classes: U8, y: F32, seen: U8, *rows: int
    ) -> None:
        v = self.v8 if plan.tensor == 8 else self.v16
        own = part.rows[plan.tensor]
        context_kernels.quantise_pass(
            plan.group, v[own.start : own.stop], plan.channels, means, classes, self.zone,
            part.symbols[plan.tensor], y, seen, self.tables.grid.parts, self.hiding, *rows,
        )  # fmt: skip

    def code(
        self, part: Part, plan: PassPlan, means: I16, classes: U8, y: F32, seen: U8, *rows: int
    ) -> None:
        context_kernels.encode_pass(
            part.state, part.data, part.states, plan.group, plan.channels, classes,
            part.symbols[plan.tensor], self.hiding, *rows,
        )  # fmt: skip

    def finish(self) -> bytes:
        """The stream: that of the whole, or the first half's length, and both halves'."""
        first, *second = (
            part.data[: range_coder.finish(part.state, part.data)].tobytes() for part in self.parts
        )
        return b"".join([varint(len(first)), first, *second]) if second else first
