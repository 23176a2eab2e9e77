"""What encoding and decoding a tile have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deepsic.coding import binarisation, context_kernels, hidden_signs, scratch
from deepsic.models.sic.int8.integer_net import I16, U8, Predict
from deepsic.models.sic.layout import F32
from deepsic.models.sic.passes import PassPlan
from deepsic.models.sic.tile_coder.tables import EntropyTables
from deepsic.models.sic.wavelet import bands
from deepsic.threads import each, in_turn, share

__all__ = ["Part", "TileCoder", "TileCoderBase"]


class TileCoder(Protocol):
    """Encodes or decodes; both fill `y8`, of `bands.coded8` channels, and `y16`, (H, W, C) float32
    in steps."""

    hyper_shape: tuple[int, int, int]
    """Of the hyper-latent."""

    @property
    def apart(self) -> bool:
        """Whether the hyper-latent and the lowest band share no stream."""

    def hyper(self) -> NDArray[np.int32]:
        """The hyper-latent (H/32, W/32, 24)."""

    def lowest(self) -> NDArray[np.int32]:
        """The lowest band (H/16 + 1, W/16 + 2, 3) with its border of zeros."""

    def run(self, plan: PassPlan, predict: Predict) -> U8:
        """Code one pass; returns (H, W, K) what the nets may see of it, bytes as in `Plane`."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Rows of a tile with a stream of their own: all, or one half. The hyper-latent comes first in
    the first part's stream, the lowest band before all rows in the last part's."""

    state: NDArray[np.uint64]
    """Of its range coder."""
    data: U8
    """Its stream, or room for it."""
    states: NDArray[np.int32]
    """Of its contexts, see `binarisation.fresh_states`."""
    rows: dict[int, range]
    """By tensor, 8 or 16."""
    symbols: dict[int, I16]
    """By tensor: (rows + 1, W + 2, C) with a border of zeros."""


class TileCoderBase(ABC):
    """Buffers that both directions share."""

    def __init__(self, tables: EntropyTables, quality: int, height: int, width: int) -> None:
        h8, w8, h16, w16 = height // 8, width // 8, height // 16, width // 16
        self.tables = tables
        self.y8 = scratch.zeros((h8, w8, bands.coded8(quality)), np.float32)
        self.y16 = np.zeros((h16, w16, bands.Y16), np.float32)
        self.parts: list[Part] = []
        self.hyper_shape = (height // 32, width // 32, bands.HYPER)
        self.ll = np.zeros((h16 + 1, w16 + 2, bands.LL), np.int32)
        # z is coded as a pass whose means are 0 and whose classes are constant.
        positions = self.hyper_shape[0] * self.hyper_shape[1]
        self.hyper_means = np.zeros((positions, bands.HYPER), np.int16)
        self.hyper_classes = np.tile(tables.z_classes[quality - 1], (positions, 1))
        self.hyper_channels = np.arange(bands.HYPER, dtype=np.int32)
        self.serial = None if tables.serial is None else tables.serial.at(quality)
        self.plain = hidden_signs.hiding(tables.start, False)
        self.hiding = hidden_signs.hiding(tables.start, tables.hides)

    @property
    def apart(self) -> bool:
        """See `TileCoder`."""
        return len(self.parts) > 1

    def add_part(self, state: NDArray[np.uint64], data: U8) -> None:
        """The next part down; the tables say how many there are."""
        rows, symbols = {}, {}
        number, count = len(self.parts), self.tables.streams
        for tensor, y in ((8, self.y8), (16, self.y16)):
            own = range(len(y) * number // count, len(y) * (number + 1) // count)
            rows[tensor] = own
            symbols[tensor] = scratch.zeros((len(own) + 1, y.shape[1] + 2, y.shape[2]), np.int16)
        states = binarisation.fresh_states(self.tables.start)
        self.parts.append(Part(state=state, data=data, states=states, rows=rows, symbols=symbols))

    def bordered_hyper(self) -> NDArray[np.int32]:
        """Room for the hyper-latent with a border of zeros."""
        h, w, channels = self.hyper_shape
        return np.zeros((h + 1, w + 2, channels), np.int32)

    def run(self, plan: PassPlan, predict: Predict) -> U8:
        """See `TileCoder`. A part's rows are predicted by several threads while those before are
        coded by one."""
        y = self.y8 if plan.tensor == 8 else self.y16
        seen = scratch.empty((*y.shape[:2], len(plan.channels)), np.uint8)
        threads = share(len(self.parts))

        def whole(part: Part) -> None:
            rows = part.rows[plan.tensor]
            own = slice(rows.start, rows.stop)

            def make(top: int, bottom: int) -> tuple[I16, U8]:
                means, classes = predict(top, bottom)
                context_kernels.settle(
                    means, classes, plan.channels, plan.parity, y, seen, self.tables.grid,
                    top, bottom,
                )  # fmt: skip
                self.settle(
                    part, plan, means, classes, y[own], seen[own], top - own.start,
                    bottom - own.start,
                )  # fmt: skip
                return means, classes

            def code(top: int, bottom: int, made: tuple[I16, U8]) -> None:
                self.code(part, plan, *made, y[own], seen[own], top - own.start, bottom - own.start)

            in_turn(make, code, rows, threads)

        each(whole, self.parts)
        return seen

    def settle(  # noqa: B027
        self, part: Part, plan: PassPlan, means: I16, classes: U8, y: F32, seen: U8, *rows: int
    ) -> None:
        """What is to be done with rows before they are coded; arguments as `code`'s."""

    @abstractmethod
    def code(
        self, part: Part, plan: PassPlan, means: I16, classes: U8, y: F32, seen: U8, *rows: int
    ) -> None:
        """Code rows of a part, from one to before another, counted from its first.

        means, classes: (P, K), of these rows. y: (H, W, C) in steps, seen: (H, W, K), of the part.
        """

    def finish_lowest(self) -> NDArray[np.int32]:
        """Copy the lowest band into y16."""
        self.y16[:, :, : bands.LL] = self.ll[1:, 1:-1]
        return self.ll
