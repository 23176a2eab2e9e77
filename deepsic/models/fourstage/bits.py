"""Section III-B: "we train a classifier to predict the value of each bit from its context feature".

`BitClassifier` is that classifier while it is trained: a hidden layer that sees the neighbourhood
and the bits of the same feature so far, and one logit for the next bit. `BitTables` is what
becomes of it in a model file: whole numbers, which `deepsic.coding.bit_planes` runs alike on every
machine. A quantised logit is a context of the adaptive coder, whose first probability is counted
on the training images; so the coder goes on correcting in each file what training got wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from deepsic.coding import binarisation, bit_planes
from deepsic.errors import UsageError
from deepsic.models.integer import ACTIVATION_STEPS, LIMIT, WEIGHT_STEPS, round_through

__all__ = [
    "BitClassifier", "BitTables", "Sight", "bordered", "choose_parents", "count_starts",
    "gather", "train_tables",
]  # fmt: skip

I16 = NDArray[np.int16]
_EVERY = 37
_BATCH = 8192
_BIAS_STEPS = WEIGHT_STEPS * ACTIVATION_STEPS


@dataclass(frozen=True, kw_only=True)
class BitTables:
    """Integers that ship with a model, as `deepsic.coding.bit_planes` takes them."""

    rest: NDArray[np.int32]
    """(C,) level at which each channel rests."""
    group: NDArray[np.int32]
    """(C,) which of the nets serves each channel."""
    parents: NDArray[np.int32]
    """(C, PARENTS) earlier channels to look at; -1 for none."""
    bias: NDArray[np.int32]
    """(C, HIDDEN)"""
    first: NDArray[np.int32]
    """(GROUPS, FEATURES, HIDDEN)"""
    node: NDArray[np.int32]
    """(GROUPS, NODES, HIDDEN)"""
    second: NDArray[np.int32]
    """(GROUPS, PLANES, HIDDEN)"""
    offset: NDArray[np.int32]
    """(GROUPS, NODES)"""
    start: NDArray[np.int32]
    """(CONTEXTS,) first probability of a 0, in 1/65536."""

    def arrays(self) -> tuple[NDArray[np.int32], ...]:
        """What the kernels take between the features and the quality, in their order."""
        return tuple(getattr(self, field.name) for field in fields(self) if field.name != "start")

    def states(self) -> NDArray[np.int32]:
        """States of the contexts at the start of a stream."""
        return binarisation.fresh_states(self.start.astype(np.uint16))


def bordered(m: NDArray[np.int16]) -> I16:
    """(H, W, C) levels counted from rest to the kernels' (C, H + 2, W + 4)."""
    return np.ascontiguousarray(np.pad(m.transpose(2, 0, 1), ((0, 0), (1, 1), (2, 2))))


@dataclass(frozen=True, kw_only=True)
class Sight:
    """One image's features as the coder holds them."""

    m: I16
    """(C, H + 2, W + 4), see `bordered`."""
    quality: int


def choose_parents(sights: Iterable[Sight], channels: int) -> NDArray[np.int32]:
    """For each channel the earlier ones whose sizes go most with its own: (C, PARENTS)."""
    total = np.zeros((channels, channels))
    for sight in sights:
        sizes = np.log2(1.0 + np.abs(sight.m[:, 1:-1, 2:-2].reshape(channels, -1)))
        sizes -= sizes.mean(1, keepdims=True)
        spread = np.sqrt((sizes**2).sum(1)) + 1e-6
        total += (sizes @ sizes.T) / np.outer(spread, spread)
    parents = np.full((channels, bit_planes.PARENTS), -1, np.int32)
    for c in range(1, channels):
        best = np.argsort(-total[c, :c], kind="stable")[: bit_planes.PARENTS]
        parents[c, : len(best)] = best
    return parents


def gather(
    sights: Iterable[Sight], parents: NDArray[np.int32], every: int = _EVERY
) -> NDArray[np.int16]:
    """Rows (N, FEATURES + 2) of features, channel and level for training."""
    parts = []
    for number, sight in enumerate(sights):
        rows = np.empty((sight.m.size // every + 1, bit_planes.FEATURES + 2), np.int16)
        count = bit_planes.gather_planes(sight.m, parents, sight.quality, every, number, rows)
        parts.append(rows[:count])
    return np.concatenate(parts) if parts else np.empty((0, bit_planes.FEATURES + 2), np.int16)


class BitClassifier(nn.Module):
    """Logit of a 1 for each of a feature's bits, each given those before it.

    On the grid of `deepsic.models.integer` when `quantised`: weights in 1/64, activations in
    1/16, sums in 1/1024.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = bit_planes.HIDDEN
        self.bias = nn.Parameter(torch.zeros(channels, hidden))
        self.first = nn.Parameter(0.1 * torch.randn(bit_planes.FEATURES, hidden))
        self.node = nn.Parameter(0.5 * torch.randn(bit_planes.NODES, hidden))
        self.second = nn.Parameter(0.2 * torch.randn(bit_planes.PLANES, hidden))
        self.offset = nn.Parameter(torch.zeros(bit_planes.NODES))
        self.quantised = False

    def forward(self, x: Tensor, channel: Tensor, path: Tensor) -> Tensor:
        """Logits (N, PLANES) of x (N, FEATURES) in sixteenths, channels (N,), paths (N, PLANES)."""
        first, second = self._grid(self.first, WEIGHT_STEPS), self._grid(self.second, WEIGHT_STEPS)
        bias, node = self._grid(self.bias, _BIAS_STEPS), self._grid(self.node, _BIAS_STEPS)
        s = x / ACTIVATION_STEPS @ first + bias[channel]
        a = s[:, None] + node[path]
        if self.quantised:
            a = round_through(a * ACTIVATION_STEPS) / ACTIVATION_STEPS
        a = a.clamp(0, LIMIT / ACTIVATION_STEPS)
        return (a * second).sum(2) + self._grid(self.offset, _BIAS_STEPS)[path]

    def _grid(self, value: Tensor, steps: float) -> Tensor:
        bound = LIMIT if steps == WEIGHT_STEPS else 2.0**20
        if not self.quantised:
            return value.clamp(-bound / steps, bound / steps)
        return round_through((value * steps).clamp(-bound, bound)) / steps


def _whole(value: Tensor, steps: float) -> NDArray[np.int32]:
    bound = LIMIT if steps == WEIGHT_STEPS else 2.0**20
    scaled = torch.floor(value.detach().double() * steps + 0.5).clamp(-bound, bound)
    return scaled.int().numpy()


def _paths(u: Tensor) -> tuple[Tensor, Tensor]:
    """Bits (N, PLANES) of levels u in 0 .. 63, and the path before each."""
    shifts = torch.arange(bit_planes.PLANES - 1, -1, -1)
    bits = (u[:, None] >> shifts) & 1
    before = (u[:, None] >> (shifts + 1)) | (1 << torch.arange(bit_planes.PLANES))
    return bits, before


def _fit(rows: Tensor, rest: Tensor, channels: int, steps: int) -> BitClassifier:
    """One group's classifier by Adam on the bits' cross entropy; the last third on the grid."""
    net = BitClassifier(channels)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    x, channel = rows[:, : bit_planes.FEATURES].float(), rows[:, bit_planes.FEATURES].long()
    u = rows[:, bit_planes.FEATURES + 1].long() + rest[channel] + bit_planes.HALF
    bits, path = _paths(u)
    for step in range(steps):
        net.quantised = step >= 2 * steps // 3
        for group in optimiser.param_groups:
            group["lr"] = 1e-2 * 0.5 * (1.02 + np.cos(np.pi * step / steps))
        some = torch.randint(len(rows), (min(_BATCH, len(rows)),))
        logits = net(x[some], channel[some], path[some])
        loss = functional.binary_cross_entropy_with_logits(logits, bits[some].float())
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    return net


def train_tables(
    sights: list[Sight], rest: NDArray[np.int32], *, steps: int = 600, seed: int = 0
) -> BitTables:
    """Train the classifier on images' features and put it into whole numbers.

    Args:
        sights: features of training images at the qualities that files will have.
        rest: (C,) resting level of each channel.
        steps: of each group's training; 0 leaves the classifier as it was drawn.
        seed: of weights and batches.

    Raises:
        UsageError: nothing to train on.
    """
    channels = len(rest)
    torch.manual_seed(seed)
    parents = choose_parents(sights, channels)
    rows = torch.from_numpy(gather(sights, parents))
    if not len(rows):
        raise UsageError("no image to train the bit classifier on: all features are at rest")
    # Channels come in the order of their variance: neighbours in that order are alike.
    spread = np.array(
        [np.abs(np.stack([s.m[c].std() for s in sights])).mean() for c in range(channels)]
    )
    group = np.empty(channels, np.int32)
    group[np.argsort(-spread, kind="stable")] = np.arange(channels) * bit_planes.GROUPS // channels
    nets = []
    for g in range(bit_planes.GROUPS):
        mine = rows[torch.from_numpy(group)[rows[:, bit_planes.FEATURES].long()] == g]
        nets.append(_fit(mine if len(mine) else rows, torch.from_numpy(rest), channels, steps))
    tables = BitTables(
        rest=rest.astype(np.int32),
        group=group,
        parents=parents,
        bias=np.stack([_whole(nets[group[c]].bias[c], _BIAS_STEPS) for c in range(channels)]),
        first=np.stack([_whole(net.first, WEIGHT_STEPS) for net in nets]),
        node=np.stack([_whole(net.node, _BIAS_STEPS) for net in nets]),
        second=np.stack([_whole(net.second, WEIGHT_STEPS) for net in nets]),
        offset=np.stack([_whole(net.offset, _BIAS_STEPS) for net in nets]),
        start=np.full(bit_planes.CONTEXTS, 32768, np.int32),
    )
    return count_starts(tables, rows.numpy())


def count_starts(tables: BitTables, rows: NDArray[np.int16]) -> BitTables:
    """The tables with first probabilities as counted on rows of `gather`."""
    x = rows[:, : bit_planes.FEATURES].astype(np.int64)
    channel = rows[:, bit_planes.FEATURES].astype(np.int64)
    u = torch.from_numpy(rows[:, bit_planes.FEATURES + 1].astype(np.int64) + tables.rest[channel])
    bits, path = (part.numpy() for part in _paths(u + bit_planes.HALF))
    g = tables.group[channel]
    counts = np.zeros((bit_planes.CONTEXTS, 2))
    for k in range(bit_planes.GROUPS):
        mine = g == k
        s = tables.bias[channel[mine]] + x[mine] @ tables.first[k]
        for plane in range(bit_planes.PLANES):
            at = path[mine, plane]
            a = np.clip((s + tables.node[k][at] + 32) >> 6, 0, 127)
            logit = tables.offset[k][at] + a @ tables.second[k][plane].astype(np.int64)
            bucket = np.clip((logit >> 8) + bit_planes.BUCKETS // 2, 0, bit_planes.BUCKETS - 1)
            context = (k * bit_planes.PLANES + plane) * bit_planes.BUCKETS + bucket
            np.add.at(counts, (context, bits[mine, plane]), 1)
    buckets = (np.arange(bit_planes.CONTEXTS) % bit_planes.BUCKETS) - bit_planes.BUCKETS / 2 + 0.5
    prior = 1 / (1 + np.exp(buckets / 4))
    prior[bit_planes.ACTIVE_AT] = 0.5
    share = (counts[:, 0] + 4 * prior) / (counts.sum(1) + 4)
    start = np.clip(np.round(share * 65536), 32, 65504).astype(np.int32)
    return replace(tables, start=start)
