"""Measures, on pictures, what ships in a model's integer tables: initial probabilities.

Runs the real encoder and counts, for every context, how often each answer came.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepsic.coding import binarisation
from deepsic.coding.context_kernels import mean_grid
from deepsic.models.blocks import QualityTable
from deepsic.models.integer import ACTIVATION_STEPS
from deepsic.models.quality import APART, QUALITIES
from deepsic.models.sic.engine import SicEngine
from deepsic.models.sic.entropy_model import likelihood
from deepsic.models.sic.entropy_model.context import State
from deepsic.models.sic.entropy_model.serial import Colour, HyperNet
from deepsic.models.sic.int8.integer_net import U8, Predict, known
from deepsic.models.sic.layout import F32
from deepsic.models.sic.net import SicNet
from deepsic.models.sic.passes import PassPlan
from deepsic.models.sic.tile_coder.encoder import MARKS, TileEncoder
from deepsic.models.sic.tile_coder.tables import EntropyTables

PRIOR = 6.0
"""Weight of the logistic density, in observations, against what was counted."""


def scale_classes(log_s: Tensor) -> U8:
    """Nearest scale classes of natural logs of scales, never a skipped one."""
    index = (log_s.detach().double() / math.log(2.0) - likelihood.LOG2_MIN) / likelihood.LOG2_STEP
    classes = index.round().clamp(binarisation.SKIP + 1, likelihood.SCALES - 1)
    return np.asarray(classes.numpy().astype(np.uint8))


def first_tables(net: SicNet) -> EntropyTables:
    """Tables from the trained net alone, initial probabilities from the logistic density."""
    shifts = {}
    scale = torch.linspace(0, 1, QUALITIES)
    at = torch.cat([scale + APART * tuning for tuning in range(net.config.tunings)])
    for name, layer in net.context.named_modules():
        if isinstance(layer, State | Colour | HyperNet):
            table = layer.shift(at)[:, :, 0, 0].detach().double()
            first = layer.conv if isinstance(layer, State) else layer.first
            steps = ACTIVATION_STEPS * first.steps().double()
            shifts[name] = torch.floor(table * steps + 0.5).int().numpy()
    z_scales = net.z_log_scale
    if isinstance(z_scales, QualityTable):
        z_scales = z_scales(at)[:, :, 0, 0]
    else:
        z_scales = z_scales.expand(len(at), -1)
    activity = torch.arange(256.0)
    offset, slope = net.ll_scale.detach()
    ll_log = offset[:, None] + slope[:, None] * torch.log1p(0.5 * activity)
    indices = torch.arange(64.0)
    return EntropyTables(
        start=_logistic_start(net.config.serial),
        z_classes=scale_classes(z_scales),
        ll_classes=scale_classes(ll_log),
        shifts=shifts,
        grid=mean_grid(net.config.mean_parts),
        zone=likelihood.dead_zone(likelihood.log_scale(indices)).numpy().astype(np.float32),
    )


def _logistic_start(serial: bool) -> NDArray[np.uint16]:
    """Probability of a 0 for every context under the density of its class."""
    count = binarisation.SERIAL_COUNT if serial else binarisation.COUNT
    start = np.full(count, 32768, np.float64)
    magnitudes = torch.arange(binarisation.UNARY + 1.0).double()
    for index in range(binarisation.CLASSES):
        log_s = likelihood.log_scale(torch.tensor(float(index), dtype=torch.float64))
        mass = torch.exp2(-likelihood.bits(magnitudes, log_s)).numpy()
        mass[1:] *= 2
        tail = np.maximum(1.0 - np.concatenate(([0.0], np.cumsum(mass))), 1e-9)
        stay = np.clip(mass / tail[:-1], 1e-4, 1 - 1e-4)
        for group in range(len(binarisation.GROUPS)):
            base = (group * binarisation.CLASSES + index) * binarisation.PER_CLASS
            start[base : base + binarisation.NEIGHBOURS] = stay[0] * 65536
            one = base + binarisation.ONE_AT
            start[one : one + binarisation.NEIGHBOURS] = stay[1] * 65536
            more = base + binarisation.MORE_AT
            start[more : base + binarisation.PER_CLASS] = stay[2 : binarisation.UNARY] * 65536
    return np.clip(start, 32, 65504).astype(np.uint16)


class CountingEncoder(TileEncoder):
    """An encoder that counts the answers (contexts, 2) in `counts`."""

    def __init__(
        self, tables: EntropyTables, quality: int, latents: tuple[F32, F32, F32],
        counts: NDArray[np.int64],
    ) -> None:  # fmt: skip
        super().__init__(tables, quality, latents)
        self.counts = counts

    def hyper(self) -> NDArray[np.int32]:
        z_hat = super().hyper()
        if self.serial is not None:
            self._count_marked("z", self.hyper_marks)
            return z_hat
        padded = np.zeros((z_hat.shape[0] + 1, z_hat.shape[1] + 2, z_hat.shape[2]), np.int64)
        padded[1:, 1:-1] = z_hat
        near = np.abs(padded[1:, :-2]) + np.abs(padded[:-1, 1:-1])
        near[:, :, 1:] += np.abs(z_hat[:, :, :-1])
        classes = self.hyper_classes.reshape(z_hat.shape)
        self._count("z", z_hat, classes, np.minimum(near, 2))
        return z_hat

    def lowest(self) -> NDArray[np.int32]:
        ll = super().lowest().astype(np.int64)
        if self.serial is not None:
            self._count_marked("ll", self.lowest_marks)
            return self.ll
        west, north, corner = ll[1:, :-2], ll[:-1, 1:-1], ll[:-1, :-2]
        low, high = np.minimum(west, north), np.maximum(west, north)
        guess = np.maximum(np.minimum(west + north - corner, high), low)
        activity = np.abs(north - corner) + np.abs(west - corner)
        colours = np.broadcast_to(np.arange(3), guess.shape)
        classes = self.tables.ll_classes[colours, np.minimum(activity, 255)]
        self._count("ll", ll[1:, 1:-1] - guess, classes, np.minimum(2, activity // 4))
        return self.ll

    def run(self, plan: PassPlan, predict: Predict) -> U8:
        height, width = (self.y8 if plan.tensor == 8 else self.y16).shape[:2]
        means, classes = predict(0, height)
        seen = super().run(plan, known(means, classes, width))
        symbols = self.parts[0].symbols[plan.tensor].astype(np.int64)
        grid = classes.reshape(height, width, -1)
        before = -1
        for k, channel in enumerate(plan.channels):
            plane = symbols[:, :, channel]
            near = np.abs(plane[1:, :-2]) + np.abs(plane[:-1, 1:-1])
            coded = grid[:, :, k] > binarisation.SKIP
            if before >= 0:
                near = near + np.abs(symbols[1:, 1:-1, before])
            before = int(channel)
            inner = plane[1:, 1:-1]
            group = binarisation.GROUPS[
                plan.group // (binarisation.CLASSES * binarisation.PER_CLASS)
            ]
            self._count(group, inner[coded], grid[:, :, k][coded], np.minimum(near, 2)[coded])
        return seen

    def _count_marked(self, group: str, marks: NDArray[np.int32]) -> None:
        classes, near, signs, symbols = marks.reshape(-1, MARKS).T
        self._count(group, symbols, classes, near)
        some = symbols != 0
        np.add.at(self.counts, (signs[some], (symbols[some] < 0).astype(int)), 1)

    def _count(self, group: str, symbols: object, classes: object, near: object) -> None:
        s = np.abs(np.asarray(symbols)).ravel()
        base = binarisation.group_start(group) + np.asarray(classes).ravel().astype(np.int64) * (
            binarisation.PER_CLASS
        )
        n = np.asarray(near).ravel()
        np.add.at(self.counts, (base + n, (s != 0).astype(int)), 1)
        some = s > 0
        one = base[some] + binarisation.ONE_AT + n[some]
        np.add.at(self.counts, (one, (s[some] > 1).astype(int)), 1)
        for level in range(2, binarisation.UNARY):
            at = s >= level
            more = base[at] + binarisation.MORE_AT + level - 2
            np.add.at(self.counts, (more, (s[at] > level).astype(int)), 1)
        rest = s[s >= binarisation.UNARY] - binarisation.UNARY + 1
        widths = np.frexp(rest)[1] - 1
        for k in range(int(widths.max(initial=-1)) + 1):
            context = binarisation.ESCAPE_AT + min(k, binarisation.ESCAPES - 1)
            self.counts[context] += (widths == k).sum(), (widths > k).sum()


def count(
    engine: SicEngine, rgb: NDArray[np.uint8], quality: int, counts: NDArray[np.int64]
) -> None:
    """Add to `counts` (COUNT, 2) the answers of every context on an image."""
    v8, v16, _ = engine.transforms.analyse(rgb, quality)
    z = engine.transforms.hyper(v8, v16, quality)
    code = CountingEncoder(engine.probabilities.tables, quality, (v8, v16, z), counts)
    engine.probabilities.run(code, quality)


def calibrated(tables: EntropyTables, counts: NDArray[np.int64]) -> EntropyTables:
    """Tables whose initial probabilities are what was counted, shrunk to the density's."""
    prior = tables.start.astype(np.float64) / 65536
    share = (counts[:, 0] + PRIOR * prior) / (counts.sum(1) + PRIOR)
    start = np.clip(np.round(share * 65536), 32, 65504).astype(np.uint16)
    return replace(tables, start=start)
