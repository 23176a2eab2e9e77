"""The probability model: hyper-latent, then coarse to fine in two passes a level.

    z (24, 1/32) -> h16 --+
    LL differences -------+-> state16 -> level 4 a, b -> state -> up to 1/8
        -> level 3 a, b -> state -> level 2 a, b -> state -> level 1 a, b, c

A pass sees the state of its level and, for `b`, what `a` coded; it gives each latent a mean (in
sixteenths of a step) and a scale class. All arithmetic is on the integer grid of `integer`.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from deepsic.models.blocks import QualityTable, compand
from deepsic.models.integer import (
    ACTIVATION_STEPS,
    LIMIT,
    IntegerConv,
    activate,
    on_grid,
    requantise,
    round_through,
)
from deepsic.models.quality import place
from deepsic.models.sic.entropy_model.serial import HyperNet, LowestNet
from deepsic.models.sic.wavelet import bands

MEAN_LIMIT = 128.0
"""Steps; means stay below."""


class PassCoder(Protocol):
    """What the passes are run with."""

    def __call__(
        self, name: str, mean: Tensor, index: Tensor, images: Tensor | None = None
    ) -> Tensor:
        """Code one pass.

        Args:
            name: level and part, "4a" .. "1c".
            mean: prediction in steps, (B, K, H, W).
            index: scale class, same shape.
            images: mask (B,) of those that take part, if not all do.

        Returns:
            y_hat in steps, same shape, zero where this pass codes nothing.
        """


class Pass(nn.Module):
    """Parameters of one pass: state (B, C, H, W) and what pass `a` coded to mean and scale."""

    def __init__(self, channels: int, seen: int, coded: int) -> None:
        super().__init__()
        self.mean_parts = 16
        """Parts of a step that means are counted in."""
        self.from_state = IntegerConv(channels, channels, 1)
        self.from_seen = IntegerConv(seen, channels, 3, bias=False) if seen else None
        self.hidden = IntegerConv(channels, channels, 1)
        self.out = IntegerConv(channels, 2 * coded, 1)
        with torch.no_grad():
            self.out.weight.mul_(0.3)
            if self.out.bias is not None:
                self.out.bias[coded:] = 1.2  # scale class 19: a logistic scale of 0.44 steps

    def forward(self, state: Tensor, seen: Tensor | None, quantised: bool) -> tuple[Tensor, Tensor]:
        x = self.from_state(state)
        if self.from_seen is not None and seen is not None:
            x = x + self.from_seen(seen)
        x = activate(x, quantised)
        x = activate(self.hidden(x), quantised)
        mean, index = self.out(x).chunk(2, 1)
        limit = MEAN_LIMIT - 1 / self.mean_parts
        mean = on_grid(mean, self.mean_parts * quantised, -limit, limit)
        # The class is the sum in sixteenths: 0 .. 63.
        index = requantise(index, quantised, 0.0, 63.0) * ACTIVATION_STEPS
        return mean, index


class State(nn.Module):
    """Next state: 3x3 over the last state and newly coded latents, shifted by quality."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.conv = IntegerConv(inputs, channels, 3, bias=False)
        self.shift = QualityTable(channels)

    def forward(self, x: Tensor, position: Tensor, quantised: bool) -> Tensor:
        shift = self.shift(position)
        if quantised:
            scale = (ACTIVATION_STEPS * self.conv.steps())[:, None, None]
            shift = round_through(shift * scale) / scale
        return activate(self.conv(x) + shift, quantised)


def compand_integer(v: Tensor, quantised: bool) -> Tensor:
    """`compand` onto the activation grid: what the context sees of a decoded latent, in steps."""
    return requantise(compand(v), quantised, -LIMIT, LIMIT)


def checkerboard(height: int, width: int, device: torch.device) -> Tensor:
    """Mask (1, 1, H, W), 1 where row + column is even."""
    rows = torch.arange(height, device=device)[:, None]
    columns = torch.arange(width, device=device)[None, :]
    return ((rows + columns) % 2 == 0).float()[None, None]


def differences(ll: Tensor) -> Tensor:
    """Steps to the left and upper neighbour: (B, 3, H, W) to (B, 6, H, W), zero at the border."""
    dx = functional.pad(ll[..., :, 1:] - ll[..., :, :-1], (1, 0))
    dy = functional.pad(ll[..., 1:, :] - ll[..., :-1, :], (0, 0, 1, 0))
    return torch.cat((dx, dy), 1)


class ContextModel(nn.Module):
    """All passes in coding order; the caller's `coder` quantises, encodes or decodes each."""

    def __init__(
        self, channels: int = 64, *, rounded_sums: bool = False, shifted: bool = False,
        mean_parts: int = 16, serial: bool = False,
    ) -> None:  # fmt: skip
        """`shifted`: of the second revision, with a grid for each output channel."""
        super().__init__()
        self.lowest = LowestNet() if serial else None
        self.around = HyperNet(bands.HYPER) if serial else None
        c = channels
        self.quantised = False
        self.hyper1 = State(bands.HYPER, c) if shifted else IntegerConv(bands.HYPER, c, 3)
        self.hyper2 = IntegerConv(c, 4 * 32, 1)
        self.state4 = State(32 + 2 * bands.LL, c)
        self.pass4a = Pass(c, 0, 3)
        self.pass4b = Pass(c, 3, 9)
        self.state_up = State(c + bands.LEVEL4, c)
        self.up = IntegerConv(c, 4 * c, 1)
        self.pass3a = Pass(c, 0, 3)
        self.pass3b = Pass(c, 3, 9)
        self.state2 = State(c + bands.LEVEL3, c)
        self.pass2a = Pass(c, 0, len(bands.LEVEL2_A))
        self.pass2b = Pass(c, len(bands.LEVEL2_A), len(bands.LEVEL2_B))
        self.state1 = State(c + bands.LEVEL2, c)
        self.pass1a = Pass(c, 0, len(bands.LEVEL1_A))
        self.pass1b = Pass(c, len(bands.LEVEL1_A), len(bands.LEVEL1_B))
        self.pass1c = Pass(c, bands.LEVEL1, bands.CHROMA1)
        for module in self.modules():
            if isinstance(module, IntegerConv):
                module.rounded = rounded_sums
                module.shifted = shifted
            if isinstance(module, Pass):
                module.mean_parts = mean_parts

    def set_quantised(self, quantised: bool) -> None:
        """Switch straight-through rounding on (last stage of training, and inference) or off."""
        self.quantised = quantised
        for module in self.modules():
            if isinstance(module, IntegerConv):
                module.quantised = quantised

    def forward(self, z_hat: Tensor, ll: Tensor, position: Tensor, coder: PassCoder) -> Tensor:
        """Run all passes; returns the state of level 1 (B, C, H/8, W/8).

        Args:
            z_hat: integers (B, 24, H/32, W/32).
            ll: integer symbols of the lowest band (B, 3, H/16, W/16).
            position: place on the quality scale (B,), in [0, 1].
            coder: called once for each pass, in order; keeps what it decodes.
        """
        q = self.quantised
        z = requantise(z_hat, q, -LIMIT, LIMIT)
        h = (
            self.hyper1(z, position, q)
            if isinstance(self.hyper1, State)
            else activate(self.hyper1(z), q)
        )
        h = activate(self.hyper2(h), q)
        h16 = functional.pixel_shuffle(h, 2)
        slopes = compand_integer(differences(ll), q)
        state = self.state4(torch.cat((h16, slopes), 1), position, q)
        level4 = self._spatial("4", self.pass4a, self.pass4b, state, coder)
        state = self.state_up(torch.cat((state, level4), 1), position, q)
        state = functional.pixel_shuffle(activate(self.up(state), q), 2)
        level3 = self._spatial("3", self.pass3a, self.pass3b, state, coder)
        state = self.state2(torch.cat((state, level3), 1), position, q)
        level2 = self._phased("2", self.pass2a, self.pass2b, state, coder)
        state = self.state1(torch.cat((state, level2), 1), position, q)
        luma = self._phased("1", self.pass1a, self.pass1b, state, coder)
        fine = place(position) >= (bands.CHROMA_FROM - 1.0) / 99.0 - 1e-6
        # Asked of every image: to leave some out, the host would have to wait for the device.
        mean, index = self.pass1c(state, luma, q)
        coder("1c", mean, index, fine)
        return state

    def _spatial(self, level: str, a: Pass, b: Pass, state: Tensor, coder: PassCoder) -> Tensor:
        q = self.quantised
        seen = coder(level + "a", *a(state, None, q))
        rest = coder(level + "b", *b(state, compand_integer(seen, q), q))
        luma = rest[:, :3] + seen
        return compand_integer(torch.cat((luma, rest[:, 3:]), 1), q)

    def _phased(self, level: str, a: Pass, b: Pass, state: Tensor, coder: PassCoder) -> Tensor:
        q = self.quantised
        seen = compand_integer(coder(level + "a", *a(state, None, q)), q)
        rest = compand_integer(coder(level + "b", *b(state, seen, q)), q)
        return torch.cat((seen, rest), 1)
