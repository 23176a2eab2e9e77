"""Integer tables that say how a model's latents are coded."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deepsic.coding import context_kernels
from deepsic.models.quality import HALVES, HIDING, QUALITIES
from deepsic.models.sic.entropy_model.serial_tables import SerialNets
from deepsic.models.sic.layout import F32

__all__ = ["EntropyTables"]


@dataclass(frozen=True, kw_only=True)
class EntropyTables:
    """Integer tables that ship with a model."""

    start: NDArray[np.uint16]
    """(COUNT,) initial probability of a 0 of each context, in 1/65536."""
    z_classes: NDArray[np.uint8]
    """(100, 24) scale class of each channel of the hyper-latent, by quality; here and below, of
    each tuning in turn."""
    ll_classes: NDArray[np.uint8]
    """(3, 256) scale class of the lowest band by colour and activity."""
    shifts: dict[str, NDArray[np.int32]]
    """For each layer whose biases follow quality: (100, C) whole numbers."""
    zone: F32
    """(64,) dead zones, steps; only the encoder uses them."""
    serial: SerialNets | None = None
    """Networks that code the hyper-latent and the lowest band, if the model has them."""
    grid: context_kernels.MeanGrid
    """How finely means are counted."""
    hides: bool = False
    """Whether signs are hidden."""
    streams: int = 1
    """How many a tile has: 2, if its halves are coded apart."""

    def tuned(self, coder: int) -> EntropyTables:
        """Those of one coder, see `SicEngine.tuned`."""
        halves, rest = divmod(coder, HALVES)
        hides, tuning = divmod(rest, HIDING)
        rows = slice(QUALITIES * tuning, QUALITIES * (tuning + 1))
        return replace(
            self,
            hides=bool(hides),
            streams=1 + halves,
            z_classes=self.z_classes[rows],
            shifts={name: shift[rows] for name, shift in self.shifts.items()},
            serial=None if self.serial is None else self.serial.tuned(rows),
        )
