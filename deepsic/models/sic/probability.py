"""Runs the probability model over one tile, coding or decoding pass by pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deepsic.coding import (
    binarisation,
    context_kernels,
    hidden_signs,
    range_coder,
    scratch,
    serial_kernels,
)
from deepsic.errors import CorruptFileError, counted
from deepsic.models.quality import QUALITIES
from deepsic.models.sic.entropy_model.serial_tables import SerialNets
from deepsic.models.sic.int8.integer_net import I16, U8, IntegerLayer, Predict, predictor
from deepsic.models.sic.int8.planes import OFFSET, Plane
from deepsic.models.sic.layout import F32
from deepsic.models.sic.passes import PLANS, PassPlan
from deepsic.models.sic.wavelet import bands
from deepsic.threads import each, in_turn

MARKS = 4
"""What serial encoding says of each symbol: class, n, context of the sign, the symbol."""


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

    def tuned(self, tuning: int, hides: bool) -> EntropyTables:
        """Those of one tuning alone."""
        rows = slice(QUALITIES * tuning, QUALITIES * (tuning + 1))
        return replace(
            self,
            hides=hides,
            z_classes=self.z_classes[rows],
            shifts={name: shift[rows] for name, shift in self.shifts.items()},
            serial=None if self.serial is None else self.serial.tuned(rows),
        )


class TileCoder(Protocol):
    """Encodes or decodes; both fill `y8`, of `bands.coded8` channels, and `y16`, (H, W, C) float32
    in steps."""

    def hyper(self) -> NDArray[np.int32]:
        """The hyper-latent (H/32, W/32, 24)."""

    def lowest(self) -> NDArray[np.int32]:
        """The lowest band (H/16 + 1, W/16 + 2, 3) with its border of zeros."""

    def run(self, plan: PassPlan, predict: Predict) -> U8:
        """Code one pass; returns (H, W, K) what the nets may see of it, bytes as in `Plane`."""


class _Base(ABC):
    """Buffers that both directions share."""

    def __init__(self, tables: EntropyTables, quality: int, height: int, width: int) -> None:
        h8, w8, h16, w16 = height // 8, width // 8, height // 16, width // 16
        self.tables = tables
        self.states = binarisation.fresh_states(tables.start)
        self.y8 = scratch.zeros((h8, w8, bands.coded8(quality)), np.float32)
        self.y16 = np.zeros((h16, w16, bands.Y16), np.float32)
        self.symbols8 = scratch.zeros((h8 + 1, w8 + 2, self.y8.shape[2]), np.int16)
        self.symbols16 = np.zeros((h16 + 1, w16 + 2, bands.Y16), np.int16)
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

    def bordered_hyper(self) -> NDArray[np.int32]:
        """Room for the hyper-latent with a border of zeros."""
        h, w, channels = self.hyper_shape
        return np.zeros((h + 1, w + 2, channels), np.int32)

    def run(self, plan: PassPlan, predict: Predict) -> U8:
        """See `TileCoder`. Rows are predicted by all threads while those before are coded here."""
        symbols, y = (self.symbols8, self.y8) if plan.tensor == 8 else (self.symbols16, self.y16)
        seen = scratch.empty((*y.shape[:2], len(plan.channels)), np.uint8)

        def make(top: int, bottom: int) -> tuple[I16, U8]:
            means, classes = predict(top, bottom)
            self.settle(plan, means, classes, symbols, y, seen, top, bottom)
            return means, classes

        def code(top: int, bottom: int, made: tuple[I16, U8]) -> None:
            self.code(plan, *made, symbols, y, seen, top, bottom)

        in_turn(make, code, len(y))
        return seen

    def settle(
        self, plan: PassPlan, means: I16, classes: U8, symbols: I16, y: F32, seen: U8, *rows: int
    ) -> None:
        """What is known of rows before they are coded; arguments as `code`'s."""
        context_kernels.settle(
            means, classes, plan.channels, plan.parity, y, seen, self.tables.grid, *rows
        )

    @abstractmethod
    def code(
        self, plan: PassPlan, means: I16, classes: U8, symbols: I16, y: F32, seen: U8, *rows: int
    ) -> None:
        """Code rows, from one to before another.

        means, classes: (P, K), of these rows. symbols: (H + 1, W + 2, C). y: (H, W, C) in steps.
        seen: (H, W, K).
        """

    def finish_lowest(self) -> NDArray[np.int32]:
        """Copy the lowest band into y16."""
        self.y16[:, :, : bands.LL] = self.ll[1:, 1:-1]
        return self.ll


class TileEncoder(_Base):
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
        self.state = range_coder.encoder_state()
        # Nothing costs more than 40 bits a symbol (8-bit pictures keep symbols below 2^15).
        self.out = scratch.empty((6 * (v8.size + v16.size + z.size) + 64,), np.uint8)

    def hyper(self) -> NDArray[np.int32]:
        if self.serial is not None:
            z = self.bordered_hyper()
            self.hyper_marks = np.empty((*self.hyper_shape, MARKS), np.int32)
            serial_kernels.encode_hyper(
                self.state, self.out, self.states, binarisation.group_start("z"), self.z,
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
            self.state, self.out, self.states, group, self.hyper_channels, self.hyper_classes,
            symbols, self.plain, 0, h,
        )  # fmt: skip
        return z_hat.astype(np.int32)

    def lowest(self) -> NDArray[np.int32]:
        group = binarisation.group_start("ll")
        coder = self.state, self.out, self.states, group, self.v16, self.tables.ll_classes
        if self.serial is None:
            context_kernels.encode_lowest(*coder, self.ll)
        else:
            self.lowest_marks = np.empty((*self.v16.shape[:2], bands.LL, MARKS), np.int32)
            serial = self.serial_zone, self.serial[0], self.ll, self.lowest_marks
            serial_kernels.encode_lowest(*coder, *serial)
        return self.finish_lowest()

    def settle(
        self, plan: PassPlan, means: I16, classes: U8, symbols: I16, y: F32, seen: U8, *rows: int
    ) -> None:
        super().settle(plan, means, classes, symbols, y, seen, *rows)
        v = self.v8 if plan.tensor == 8 else self.v16
        context_kernels.quantise_pass(
            plan.group, v, plan.channels, means, classes, self.zone, symbols, y, seen,
            self.tables.grid.parts, self.hiding, *rows,
        )  # fmt: skip

    def code(
        self, plan: PassPlan, means: I16, classes: U8, symbols: I16, y: F32, seen: U8, *rows: int
    ) -> None:
        context_kernels.encode_pass(
            self.state, self.out, self.states, plan.group, plan.channels, classes, symbols,
            self.hiding, *rows,
        )  # fmt: skip

    def finish(self) -> bytes:
        """The stream."""
        return self.out[: range_coder.finish(self.state, self.out)].tobytes()


class TileDecoder(_Base):
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


LEVELS = ("1", "2", "3", "4")
"""The finest level that a picture needs with its sides halved 0 to 3 times."""
SHUFFLED = ("hyper2", "up")
"""Layers before a pixel shuffle: their rows come phase by phase, see `layout.phases_first`."""
_PHASES = 4
_SLOPES = 2 * bands.LL
"""Channels of `_slopes`."""


class ProbabilityModel:
    """The integer nets with their tables; drives a `TileCoder` through all passes."""

    def __init__(self, layers: dict[str, IntegerLayer], tables: EntropyTables) -> None:
        self.layers = layers
        self.tables = tables
        self.channels = layers["state1.conv"].conv.outputs
        """Of a state."""

    def tuned(self, tuning: int, hides: bool) -> ProbabilityModel:
        """The same nets with the tables of one tuning, and whether signs are hidden."""
        return ProbabilityModel(self.layers, self.tables.tuned(tuning, hides))

    def run(self, code: TileCoder, quality: int, last: str = "1") -> U8:
        """Code one tile at quality 1 .. 100.

        Args:
            last: the finest level that is coded.

        Returns:
            The state of the last level, (H/8, W/8, C) at level 1, bytes as in `Plane`.
        """
        z = Plane.of((np.clip(code.hyper() * 16, -127, 127) + OFFSET).astype(np.uint8))
        height, width = 2 * z.height, 2 * z.width  # at 1/16
        spread = self.layers["hyper2"].conv.outputs // _PHASES
        x = Plane.empty(height, width, spread + _SLOPES)

        def lowest() -> None:
            x.inner[..., spread : spread + _SLOPES] = _slopes(code.lowest())

        # The lowest band is coded serially, and without the hyper-latent.
        jobs: list[Callable[[], None]] = [lowest, lambda: self._spread(z, x, quality)]
        each(lambda job: job(), jobs)
        state = self._room(height, width, bands.LEVEL4)
        self._state("state4", x, state, quality)
        self._level("4", state, code)
        if last == "4":
            return self._seen(state)
        x = Plane.empty(height, width, self.channels)
        self._state("state_up", state, x, quality)
        height, width = 2 * height, 2 * width  # at 1/8
        state = self._room(height, width, bands.LEVEL3)
        self.layers["up"](x, state, phases=_PHASES)
        for level, after, coded in (("3", "state2", bands.LEVEL2), ("2", "state1", 0)):
            self._level(level, state, code)
            if last == level:
                return self._seen(state)
            x, state = state, self._room(height, width, coded)
            self._state(after, x, state, quality)
        seen = self._pass("1a", state, None, code)
        rest = self._pass("1b", state, Plane.of(seen), code)
        if quality >= bands.CHROMA_FROM:
            self._pass("1c", state, Plane.of(np.concatenate((seen, rest), 2)), code)
        return self._seen(state)

    def _spread(self, z: Plane, x: Plane, quality: int) -> None:
        """The hyper-latent's networks, to the first channels of x."""
        wide = Plane.empty(z.height, z.width, self.channels)
        if "hyper1" in self.tables.shifts:
            self._state("hyper1", z, wide, quality)
        else:
            self.layers["hyper1"](z, wide)
        self.layers["hyper2"](wide, x, phases=_PHASES)

    def _room(self, height: int, width: int, coded: int) -> Plane:
        """For a state with what its level codes behind it."""
        return Plane.empty(height, width, self.channels + coded)

    def _seen(self, state: Plane) -> U8:
        return np.ascontiguousarray(state.inner[..., : self.channels])

    def _level(self, level: str, state: Plane, code: TileCoder) -> None:
        """Both passes of a level; what they code goes behind the state's channels."""
        behind = state.inner[..., self.channels :]
        seen = self._pass(level + "a", state, None, code)
        rest = self._pass(level + "b", state, Plane.of(seen), code)
        if level in "43":
            # Where one has a latent the other has none.
            rest[..., : bands.LUMA_BANDS] += seen - np.uint8(OFFSET)
            behind[..., : rest.shape[2]] = rest
        else:
            behind[..., : seen.shape[2]] = seen
            behind[..., seen.shape[2] : seen.shape[2] + rest.shape[2]] = rest

    def _state(self, name: str, x: Plane, out: Plane, quality: int) -> None:
        self.layers[name + ".conv"](x, out, bias=self.tables.shifts[name][quality - 1])

    def _pass(self, name: str, state: Plane, seen: Plane | None, code: TileCoder) -> U8:
        prefix = f"pass{name}."
        first, hidden, out = (self.layers[prefix + p] for p in ("from_state", "hidden", "out"))
        before = None if seen is None else (self.layers[prefix + "from_seen"], seen)
        predict = predictor((first, hidden, out), state, before, self.tables.grid)
        return code.run(PLANS[name], predict)


def _slopes(ll: NDArray[np.int32]) -> U8:
    """Companded differences to left and upper neighbour (H, W, 6); see `context.differences`."""
    inner = ll[1:, 1:-1].astype(np.int64)
    dx, dy = np.zeros_like(inner), np.zeros_like(inner)
    dx[:, 1:] = inner[:, 1:] - inner[:, :-1]
    dy[1:] = inner[1:] - inner[:-1]
    v = 16 * np.concatenate((dx, dy), 2)
    size = np.abs(v)
    a = np.minimum((256 * size + 128 + size) // (2 * (128 + size)), 127)
    return (np.sign(v) * a + OFFSET).astype(np.uint8)
