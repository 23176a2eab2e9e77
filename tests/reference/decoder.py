"""A second decoder of `sic` streams: plain Python and numpy integers, no code of the package.

Written from `docs/FORMAT.md` section 10, slowly and obviously. It reads a model file's
tensors and gives the latents of a stream, of which `pixels` makes the picture; if this and the fast
decoder agree, neither depends on a library's floating point.
"""

from __future__ import annotations

import numpy as np

CLASSES, NEAR, UNARY = 64, 3, 15
PER_CLASS = 2 * NEAR + UNARY - 2
GROUPS = {"z": 0, "ll": 1, "4": 2, "3": 3, "2": 4, "1": 5}
ESCAPE = len(GROUPS) * CLASSES * PER_CLASS
SIGN = ESCAPE + 24


class BitDecoder:
    """The range decoder with adaptive contexts, in Python's unbounded integers."""

    def __init__(self, stream: bytes, start: np.ndarray) -> None:
        self.stream = stream
        self.at = 8
        self.code = int.from_bytes(stream[:8].ljust(8, b"\0"), "big")
        self.span = 2**64 - 1
        self.fast = [int(p) << 4 for p in start]
        self.slow = [int(p) << 4 for p in start]

    def bit(self, context: int | None) -> int:
        p = 32768
        if context is not None:
            p = min(max((self.fast[context] + self.slow[context]) >> 5, 24), 65536 - 24)
        bound = (self.span >> 16) * p
        if self.code >= bound:
            value, self.code, self.span = 1, self.code - bound, self.span - bound
        else:
            value, self.span = 0, bound
        if self.span < 2**32:
            word = int.from_bytes(self.stream[self.at : self.at + 4].ljust(4, b"\0"), "big")
            self.code, self.span = (self.code << 32 | word) % 2**64, self.span << 32
            self.at += 4
        if context is not None:
            for states, rate in ((self.fast, 5), (self.slow, 8)):
                if value:
                    states[context] -= states[context] >> rate
                else:
                    states[context] += (2**20 - states[context]) >> rate
        return value

    def symbol(
        self, group: str, index: int, near: int, sign: int | None = None, signed: bool = True
    ) -> int:
        base = (GROUPS[group] * CLASSES + index) * PER_CLASS
        if not self.bit(base + near):
            return 0
        negative = self.bit(sign) if signed else 0
        size, context = 1, base + NEAR + near
        while size < UNARY and self.bit(context):
            context = base + 2 * NEAR + size - 1
            size += 1
        if size == UNARY:
            width = 0
            while width < 16 and self.bit(ESCAPE + width):
                width += 1
            rest = 1
            for _ in range(width):
                rest = 2 * rest + self.bit(None)
            size += min(rest, 32000) - 1
        return -size if negative else size


def varint(data: bytes) -> tuple[int, bytes]:
    """The number that bytes begin with, and what follows it."""
    at = next(k for k, byte in enumerate(data) if byte < 128)
    return sum((data[k] & 127) << 7 * k for k in range(at + 1)), data[at + 1 :]


def to_bf16(x: np.ndarray) -> np.ndarray:
    """Whole numbers rounded to 8 significant bits, half to even."""
    size = np.abs(x)
    out = np.zeros_like(x)
    for i, value in np.ndenumerate(size):
        shift = max(0, int(value).bit_length() - 8)
        low = int(value) & ((1 << shift) - 1)
        top = int(value) >> shift
        half = (1 << shift) >> 1
        if shift and (low > half or (low == half and top & 1)):
            top += 1
        out[i] = top << shift
    return np.sign(x) * out


def convolve(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(H, W, C) with (D, C, k, k), zeros outside: (H, W, D), int64."""
    reach = weight.shape[2] // 2
    padded = np.pad(x, ((reach, reach), (reach, reach), (0, 0)))
    out = np.zeros((*x.shape[:2], len(weight)), np.int64)
    for dy in range(weight.shape[2]):
        for dx in range(weight.shape[3]):
            window = padded[dy : dy + x.shape[0], dx : dx + x.shape[1]]
            out += np.einsum("hwc,dc->hwd", window, weight[:, :, dy, dx])
    return out


def compand(v: int, parts: int = 16) -> int:
    size, eight = abs(v), 8 * parts
    a = min(127, (256 * size + eight + size) // (2 * (eight + size)))
    return -a if v < 0 else a


def shuffle(x: np.ndarray) -> np.ndarray:
    """(H, W, 4 C) to (2 H, 2 W, C)."""
    h, w, c = x.shape
    return x.reshape(h, w, c // 4, 2, 2).transpose(0, 3, 1, 4, 2).reshape(2 * h, 2 * w, c // 4)


def phases(bands: int, factor: int, parity: int) -> list[int]:
    return [
        b * factor**2 + y * factor + x
        for b in range(bands)
        for y in range(factor)
        for x in range(factor)
        if (x + y) % 2 == parity
    ]


class StreamDecoder:
    """Decodes one tile: `decode()` gives (z, ll, y16, y8), latents in `parts` of a step.

    `last` is the state of level 1 then, (H/8, W/8, C).
    """

    def __init__(
        self, tensors: dict[str, np.ndarray], stream: bytes, h: int, w: int, q: int,
        rounded: bool = False, parts: int = 16, hides: bool = False, halves: bool = False,
    ) -> None:  # fmt: skip
        self.rounded, self.parts, self.hides, self.halves = rounded, parts, hides, halves
        self.t = {k: v.astype(np.int64) for k, v in tensors.items() if v.dtype.kind in "iu"}
        below = b""
        if halves:
            length, stream = varint(stream)
            stream, below = stream[:length], stream[length:]
        self.bits, self.below = (BitDecoder(s, self.t["table.start"]) for s in (stream, below))
        self.h, self.w, self.q = h, w, q
        self.y8 = np.zeros((h // 8, w // 8, 189), np.int64)
        self.y16 = np.zeros((h // 16, w // 16, 12), np.int64)
        self.s8, self.s16 = np.zeros_like(self.y8), np.zeros_like(self.y16)

    def sums(self, name: str, x: np.ndarray) -> np.ndarray:
        """Sums in units of 2^-10: a channel's shift is at most 10."""
        sums = convolve(x, self.t[f"int.{name}.weight"])
        return self.wide(name, to_bf16(sums) if self.rounded else sums)

    def wide(self, name: str, whole: np.ndarray) -> np.ndarray:
        return whole << (10 - self.t.get(f"int.{name}.shift", np.int64(6)))

    def layer(self, name: str, x: np.ndarray) -> np.ndarray:
        return np.clip(self.whole(self.sums(name, x), name), 0, 127)

    def whole(self, sums: np.ndarray, name: str, parts: int = 16) -> np.ndarray:
        biased = sums + self.wide(name, self.t[f"int.{name}.bias"])
        return (biased * (parts // 16) + 512) >> 10

    def state(self, name: str, x: np.ndarray) -> np.ndarray:
        shift = self.wide(name + ".conv", self.t[f"table.shift.{name}"][self.q - 1])
        return np.clip((self.sums(name + ".conv", x) + shift + 512) >> 10, 0, 127)

    @staticmethod
    def near(symbols: np.ndarray, y: int, x: int, c: int, before: int, top: int = 0) -> int:
        total = abs(symbols[y, x - 1, c]) if x else 0
        total += abs(symbols[y - 1, x, c]) if y > top else 0
        total += abs(symbols[y, x, before]) if before >= 0 else 0
        return min(2, int(total))

    def row(self, name: str, x: list[int], bias: np.ndarray, rows: slice | None = None) -> list:
        """Sums of a 1x1 layer at one place, biases added, divided by 2^s and rounded."""
        weight = self.t[f"int.{name}.weight"][rows or slice(None), :, 0, 0]
        shift = self.t[f"int.{name}.shift"][rows or slice(None)]
        sums = weight @ np.array(x) + bias
        return [(int(v) + (1 << int(s) >> 1)) >> int(s) for v, s in zip(sums, shift, strict=True)]

    def bits_of(self, group: str) -> BitDecoder:
        """Where the hyper-latent or the lowest band is coded."""
        return self.below if self.halves and group == "ll" else self.bits

    def predicted(
        self, group: str, out: list, guess: int, index: int, near: int
    ) -> tuple[int, int]:
        """A symbol, and itself plus its prediction."""
        whole, fraction = (out[0] + 8) >> 4, (out[0] + 8) & 15
        index = min(max(index + out[1], 3), 63)
        sign = SIGN + (GROUPS[group] * 16 + fraction) * 16 + index // 4
        symbol = self.bits_of(group).symbol(group, index, near, sign)
        return symbol, guess + whole + symbol

    def hyper_by_net(self) -> np.ndarray:
        z = np.zeros((self.h // 32, self.w // 32, 24), np.int64)
        symbols = np.zeros_like(z)
        for y, x, c in np.ndindex(*z.shape):
            inside = [(y, x - 1), (y - 1, x), (y - 1, x - 1), (y - 1, x + 1)]
            seen: list[int] = []
            for v, u in inside:
                there = v >= 0 and 0 <= u < z.shape[1]
                seen += [int(k) for k in np.clip(16 * z[v, u], -127, 127)] if there else [0] * 24
            own = np.clip(16 * z[y, x], -127, 127)
            seen += [int(own[k]) if k < c else 0 for k in range(24)]
            bias = self.t["table.shift.around"][self.q - 1] + self.t["int.around.channel"][c]
            hidden = [min(max(v, 0), 127) for v in self.row("around.first", seen, bias)]
            rows = slice(c, None, 24)
            out = self.row("around.out", hidden, self.t["int.around.out.bias"][rows], rows)
            index = int(self.t["table.z_classes"][self.q - 1, c])
            near = self.near(symbols, y, x, c, c - 1)
            symbols[y, x, c], z[y, x, c] = self.predicted("z", out, 0, index, near)
        return z

    def lowest_by_net(self) -> np.ndarray:
        ll = np.zeros((self.h // 16, self.w // 16, 3), np.int64)
        residuals = np.zeros_like(ll)

        def at(plane: np.ndarray, y: int, x: int, c: int) -> int:
            return int(plane[y, x, c]) if y >= 0 and x >= 0 else 0

        for y, x in np.ndindex(*ll.shape[:2]):
            seen, guesses, activities = [], [], []
            for c in range(3):
                west, north = at(ll, y, x - 1, c), at(ll, y - 1, x, c)
                corner = at(ll, y - 1, x - 1, c)
                guesses.append(sorted((west, north, west + north - corner))[1])
                activities.append(abs(north - corner) + abs(west - corner))
                east = at(ll, y - 1, x + 1, c) if x + 1 < ll.shape[1] else north
                far = (
                    at(ll, y, x - 2, c) if x > 1 else west,
                    at(ll, y - 2, x, c) if y > 1 else north,
                )
                near = [v - guesses[c] for v in (west, north, corner, east, *far)]
                seen += [*near, at(residuals, y, x - 1, c), at(residuals, y - 1, x, c)]
            for c in range(3):
                known = [int(residuals[y, x, k]) if k < c else 0 for k in range(2)]
                inputs = [compand(v, 1) for v in [*seen, *known]]
                name = f"lowest.colours.{c}"
                bias = self.t[f"table.shift.{name}"][self.q - 1]
                hidden = [min(max(v, 0), 127) for v in self.row(f"{name}.first", inputs, bias)]
                hidden = self.row(f"{name}.hidden", hidden, self.t[f"int.{name}.hidden.bias"])
                hidden = [min(max(v, 0), 127) for v in hidden]
                out = self.row(f"{name}.out", hidden, self.t[f"int.{name}.out.bias"])
                index = int(self.t["table.ll_classes"][c, min(activities[c], 255)])
                n = min(2, activities[c] // 4)
                _, decoded = self.predicted("ll", out, guesses[c], index, n)
                ll[y, x, c] = min(max(decoded, -100000), 100000)
                residuals[y, x, c] = ll[y, x, c] - guesses[c]
        return ll

    def hyper(self) -> np.ndarray:
        if "int.around.channel" in self.t:
            return self.hyper_by_net()
        z = np.zeros((self.h // 32, self.w // 32, 24), np.int64)
        for y, x, c in np.ndindex(*z.shape):
            classes = self.t["table.z_classes"]
            index = int(classes[c] if classes.ndim == 1 else classes[self.q - 1, c])
            if index > 2:
                z[y, x, c] = self.bits.symbol("z", index, self.near(z, y, x, c, c - 1))
        return z

    def lowest(self) -> np.ndarray:
        if "int.around.channel" in self.t:
            return self.lowest_by_net()
        ll = np.zeros((self.h // 16, self.w // 16, 3), np.int64)
        for y, x, c in np.ndindex(*ll.shape):
            west = int(ll[y, x - 1, c]) if x else 0
            north = int(ll[y - 1, x, c]) if y else 0
            corner = int(ll[y - 1, x - 1, c]) if x and y else 0
            guess = sorted((west, north, west + north - corner))
            median = max(min(west + north - corner, max(west, north)), min(west, north))
            assert median == guess[1]
            activity = abs(north - corner) + abs(west - corner)
            index = int(self.t["table.ll_classes"][c, min(activity, 255)])
            decoded = median + self.bits_of("ll").symbol("ll", index, min(2, activity // 4))
            ll[y, x, c] = min(max(decoded, -100000), 100000)
        return ll

    def run(
        self, name: str, state: np.ndarray, seen: np.ndarray | None, channels: list[int],
        parity: list[int],
    ) -> np.ndarray:  # fmt: skip
        first = f"pass{name}.from_state"
        sums = self.sums(first, state)
        if seen is not None:
            sums = sums + self.sums(f"pass{name}.from_seen", seen)
        x = np.clip(self.whole(sums, first), 0, 127)
        out = f"pass{name}.out"
        sums = self.sums(out, self.layer(f"pass{name}.hidden", x))
        count, limit = len(channels), 128 * self.parts - 1
        means = np.clip(self.whole(sums, out, self.parts)[..., :count], -limit, limit)
        classes = np.clip(self.whole(sums, out)[..., count:], 0, 63)
        values, symbols = (self.y16, self.s16) if name[0] == "4" else (self.y8, self.s8)
        shown = np.zeros((*state.shape[:2], count), np.int64)

        def place(y: int, x: int, k: int, symbol: int) -> None:
            symbols[y, x, channels[k]] = symbol
            value = self.parts * symbol + means[y, x, k]
            values[y, x, channels[k]] = value
            shown[y, x, k] = compand(int(value), self.parts)

        for y in range(len(state)):
            lower = self.halves and y >= len(state) // 2
            bits, top = (self.below, len(state) // 2) if lower else (self.bits, 0)
            group: list[tuple[int, int]] = []  # places of nonzero symbols in this row
            expected = 0
            for x in range(state.shape[1]):
                before = -1
                for k, c in enumerate(channels):
                    index = int(classes[y, x, k])
                    if parity[k] >= 0 and (y + x) % 2 != parity[k]:
                        pass
                    elif index <= 2:
                        place(y, x, k, 0)
                    else:
                        near = self.near(symbols, y, x, c, before, top)
                        signed = not self.hides or bool(group)
                        symbol = bits.symbol(name[0], index, near, signed=signed)
                        place(y, x, k, symbol)
                        group += [(x, k)] * bool(symbol)
                        base = (GROUPS[name[0]] * CLASSES + index) * PER_CLASS
                        expected += 65536 - int(self.t["table.start"][base])
                    before = c
                    last = x == state.shape[1] - 1 and k == len(channels) - 1
                    if self.hides and (last or expected >= 4 * 65536):
                        if group:
                            total = sum(abs(int(symbols[y, u, channels[j]])) for u, j in group)
                            negative = total % 2 if len(group) > 1 else bits.bit(None)
                            u, j = group[0]
                            size = int(symbols[y, u, channels[j]])
                            place(y, u, j, -size if negative else size)
                        group, expected = [], 0
        return shown

    def spatial(self, level: str, state: np.ndarray, start: int) -> np.ndarray:
        seen = self.run(level + "a", state, None, [start, start + 1, start + 2], [0] * 3)
        channels = [start + c for c in range(9)]
        rest = self.run(level + "b", state, seen, channels, [1] * 3 + [-1] * 6)
        rest[..., :3] += seen
        return np.concatenate((state, rest), 2)

    def phased(self, level: str, state: np.ndarray, start: int, a: list[int], n: int) -> np.ndarray:
        b = [c for c in range(n) if c not in a]
        seen = self.run(level + "a", state, None, [start + c for c in a], [-1] * len(a))
        rest = self.run(level + "b", state, seen, [start + c for c in b], [-1] * len(b))
        return np.concatenate((state, seen, rest), 2)

    def decode(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        z = self.hyper()
        first = self.state if "table.shift.hyper1" in self.t else self.layer
        x = self.layer("hyper2", first("hyper1", np.clip(16 * z, -127, 127)))
        ll = self.lowest()
        slopes = np.zeros((*ll.shape[:2], 6), np.int64)
        for y, x_, c in np.ndindex(*ll.shape):
            if x_:
                slopes[y, x_, c] = compand(16 * int(ll[y, x_, c] - ll[y, x_ - 1, c]))
            if y:
                slopes[y, x_, c + 3] = compand(16 * int(ll[y, x_, c] - ll[y - 1, x_, c]))
        state = self.state("state4", np.concatenate((shuffle(x), slopes), 2))
        state = self.state("state_up", self.spatial("4", state, 3))
        state = shuffle(self.layer("up", state))
        state = self.state("state2", self.spatial("3", state, 0))
        state = self.state("state1", self.phased("2", state, 9, phases(3, 2, 0), 36))
        self.last = state
        seen = self.phased("1", state, 45, phases(3, 4, 0), 48)
        if self.q >= 60:
            luma = seen[..., state.shape[2] :]
            self.run("1c", state, luma, list(range(93, 189)), [-1] * 96)
        self.y16[..., :3] = self.parts * ll
        return z, ll, self.y16, self.y8
