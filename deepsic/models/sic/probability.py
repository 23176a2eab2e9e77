"""Runs the probability model over one tile, coding or decoding pass by pass."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from deepsic.models.sic.int8.integer_net import U8, IntegerLayer, predictor
from deepsic.models.sic.int8.planes import OFFSET, Plane
from deepsic.models.sic.passes import PLANS
from deepsic.models.sic.tile_coder.coder import TileCoder
from deepsic.models.sic.tile_coder.tables import EntropyTables
from deepsic.models.sic.wavelet import bands
from deepsic.threads import each

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

    def tuned(self, coder: int) -> ProbabilityModel:
        """The same nets with the tables of one coder, see `SicEngine.tuned`."""
        return ProbabilityModel(self.layers, self.tables.tuned(coder))

    def run(self, code: TileCoder, quality: int, last: str = "1") -> U8:
        """Code one tile at quality 1 .. 100.

        Args:
            last: the finest level that is coded.

        Returns:
            The state of the last level, (H/8, W/8, C) at level 1, bytes as in `Plane`.
        """
        height, width = 2 * code.hyper_shape[0], 2 * code.hyper_shape[1]  # at 1/16
        spread = self.layers["hyper2"].conv.outputs // _PHASES
        x = Plane.empty(height, width, spread + _SLOPES)
        # The lowest band is coded without the hyper-latent: beside it, if they share no stream.
        first = None if code.apart else code.hyper()

        def lowest() -> None:
            x.inner[..., spread : spread + _SLOPES] = _slopes(code.lowest())

        def hyper() -> None:
            self._spread(code.hyper() if first is None else first, x, quality)

        jobs: list[Callable[[], None]] = [lowest, hyper]
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

    def _spread(self, hyper: NDArray[np.int32], x: Plane, quality: int) -> None:
        """The hyper-latent's networks, to the first channels of x."""
        z = Plane.of((np.clip(hyper * 16, -127, 127) + OFFSET).astype(np.uint8))
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
