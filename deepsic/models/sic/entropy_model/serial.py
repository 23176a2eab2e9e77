"""Small networks that see what is coded already around a symbol of the hyper-latent or lowest band.

Both parts are coded serially, so that a symbol's prediction may use everything before it in raster
order. The networks correct what the tables say (a class by channel, a median of neighbours): their
last layers start at zero. All arithmetic is on the integer grid of `integer`.

    lowest band, colour c:  24 of neighbours, 2 of colours before -> 32 -> 32 -> mean, class
    hyper-latent, channel c:  z W, N, NW, NE (96) + sum over channels before -> 48 -> mean, class

The second shares its first layer among channels (NADE, Larochelle and Murray 2011): each channel
adds to the sums of the one before it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepsic.models.blocks import QualityTable, compand
from deepsic.models.integer import (
    ACTIVATION_STEPS,
    LIMIT,
    IntegerConv,
    activate,
    requantise,
    round_through,
)

__all__ = ["Colour", "HyperNet", "LowestNet", "median_prediction"]

NEIGHBOURS = 8
"""Inputs of a colour: W, N, NW, NE, WW, NN less the prediction; residuals of W and N."""
LOWEST_INPUTS = 3 * NEIGHBOURS + 2
WIDTH = 32
HYPER_WIDTH = 48


def median_prediction(ll: Tensor) -> tuple[Tensor, Tensor]:
    """JPEG-LS's predictor over (B, C, H, W), and the local activity |N - NW| + |W - NW|."""
    west, north, corner = (_moved(ll, *by) for by in ((0, 1), (1, 0), (1, 1)))
    plane = west + north - corner
    low, high = torch.minimum(west, north), torch.maximum(west, north)
    activity = (north - corner).abs() + (west - corner).abs()
    return torch.maximum(torch.minimum(plane, high), low), activity


def _moved(x: Tensor, down: int, right: int) -> Tensor:
    """(B, C, H, W) with zeros coming in from above, and from the left (right < 0: the right)."""
    x = functional.pad(x, (max(right, 0), max(-right, 0), down, 0))
    return x[..., : x.shape[2] - down, max(-right, 0) : x.shape[3] - max(right, 0)]


class Colour(nn.Module):
    """The network of one colour: (B, 26, H, W) to (B, 2, H, W), in sixteenths over 16."""

    def __init__(self) -> None:
        super().__init__()
        self.first = IntegerConv(LOWEST_INPUTS, WIDTH, 1, bias=False)
        self.shift = QualityTable(WIDTH)
        self.hidden = IntegerConv(WIDTH, WIDTH, 1)
        self.out = _silent(IntegerConv(WIDTH, 2, 1))

    def forward(self, x: Tensor, position: Tensor, quantised: bool) -> Tensor:
        shift = _on_grid(self.shift(position)[:, :, 0, 0], self.first, quantised)
        x = activate(self.first(x) + shift[:, :, None, None], quantised)
        return torch.as_tensor(self.out(activate(self.hidden(x), quantised)))


class LowestNet(nn.Module):
    """Corrections of the lowest band's median prediction, symbols, and of its classes."""

    def __init__(self) -> None:
        super().__init__()
        self.colours = nn.ModuleList(Colour() for _ in range(3))

    def forward(self, ll: Tensor, position: Tensor, quantised: bool) -> tuple[Tensor, Tensor]:
        """Whole symbols (B, 3, H, W) to means and classes of the same shape."""
        median, _ = median_prediction(ll)
        residual = ll - median
        west, north = _moved(ll, 0, 1), _moved(ll, 1, 0)
        east = _moved(ll, 1, -1)
        # Where a neighbour is outside, the nearest that isn't stands for it.
        east = torch.cat((east[..., :-1], north[..., -1:]), 3)
        far_west = torch.cat((west[..., :2], _moved(ll, 0, 2)[..., 2:]), 3)
        far_north = torch.cat((north[..., :2, :], _moved(ll, 2, 0)[..., 2:, :]), 2)
        near = (west, north, _moved(ll, 1, 1), east, far_west, far_north)
        before = _moved(residual, 0, 1), _moved(residual, 1, 0)
        parts = torch.stack([*(n - median for n in near), *before], 2).flatten(1, 2)
        seen, own = (requantise(compand(v), quantised, -LIMIT, LIMIT) for v in (parts, residual))
        outs = []
        for number, net in enumerate(self.colours):
            known = torch.cat((own[:, :number], torch.zeros_like(own[:, number:2])), 1)
            outs.append(net(torch.cat((seen, known), 1), position, quantised))
        return _decided(torch.stack(outs, 2), quantised)


class HyperNet(nn.Module):
    """Means of the hyper-latent, and corrections of its classes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.first = IntegerConv(5 * channels, HYPER_WIDTH, 1, bias=False)
        self.shift = QualityTable(HYPER_WIDTH)
        self.channel = nn.Parameter(torch.zeros(channels, HYPER_WIDTH))
        self.out = _silent(IntegerConv(HYPER_WIDTH, 2 * channels, 1))

    def forward(self, z: Tensor, position: Tensor, quantised: bool) -> tuple[Tensor, Tensor]:
        """Whole symbols (B, C, H, W) to means and classes of the same shape."""
        z = requantise(z, quantised, -LIMIT, LIMIT)
        near = torch.cat([_moved(z, *by) for by in ((0, 1), (1, 0), (1, 1), (1, -1))], 1)
        weight = self.first.grid()[0][:, :, 0, 0]
        around = torch.einsum("bchw,dc->bdhw", near, weight[:, : 4 * self.channels])
        own = torch.einsum("bchw,dc->bcdhw", z, weight[:, 4 * self.channels :])
        before = own.cumsum(1) - own
        shift = _on_grid(self.shift(position)[:, :, 0, 0], self.first, quantised)
        channel = _on_grid(self.channel, self.first, quantised)
        bias = (shift[:, None] + channel)[..., None, None]
        x = activate(around[:, None] + before + bias, quantised)
        rows, ends = self.out.grid()
        sums = torch.einsum("bcdhw,kcd->bkchw", x, rows.view(2, self.channels, HYPER_WIDTH))
        if ends is not None:
            sums = sums + ends.view(2, self.channels, 1, 1)
        return _decided(sums, quantised)


def _decided(sums: Tensor, quantised: bool) -> tuple[Tensor, Tensor]:
    """Means, and classes to add to a table's, of (B, 2, C, H, W)."""
    if quantised:
        sums = round_through(sums * ACTIVATION_STEPS) / ACTIVATION_STEPS
    return sums[:, 0], sums[:, 1] * ACTIVATION_STEPS


def _on_grid(bias: Tensor, conv: IntegerConv, quantised: bool) -> Tensor:
    """Biases (.., D) of a layer, rounded as its own would be."""
    if not quantised:
        return bias
    steps = ACTIVATION_STEPS * conv.steps()
    return round_through(bias * steps) / steps


def _silent(conv: IntegerConv) -> IntegerConv:
    nn.init.zeros_(conv.weight)
    return conv
