"""Units that died: rectified features that are zero on every picture, and learn no more.

A large step early in training can push a unit's input below zero for good. `restart_dead_units`
gives such units fresh incoming weights and takes their outgoing ones away, so that the net computes
what it did, and gradients reach them again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepsic.models.blocks import ResidualBlock
from deepsic.models.integer import IntegerConv
from deepsic.models.quality import position
from deepsic.models.sic.entropy_model.context import Pass, State
from deepsic.models.sic.entropy_model.serial_fit import fit_serial, is_silent
from deepsic.models.sic.net import SicNet
from deepsic.models.sic.transforms import Synthesis, Trunk

__all__ = ["begin", "dead_inputs", "restart_dead_units"]

_QUALITIES = (5, 30, 60, 90)
_Conv = nn.Conv2d | IntegerConv
_Group = tuple[list[_Conv | State], list[_Conv], nn.Module]
"""What makes some units, what takes them, and the taker that shows which are dead."""


def begin(net: SicNet, images: Sequence[NDArray[np.uint8]], *, trained: bool) -> str:
    """Give dead units of a trained net another chance, and serial networks that are new to it
    their first weights, as `registry.Preset.begin`."""
    if not trained:
        return ""
    done = f"{restart_dead_units(net, images)} dead units restarted"
    if is_silent(net):
        fit_serial(net, images)
        done += ", serial networks fitted"
    return done


def dead_inputs(net: SicNet, pictures: Sequence[NDArray[np.uint8]]) -> dict[str, Tensor]:
    """Which inputs of each convolution never rise above zero.

    Args:
        pictures: (H, W, 3) uint8, sides multiples of 32.

    Returns:
        Names of modules with masks (C,).
    """
    largest: dict[str, Tensor] = {}

    def watch(name: str) -> Any:
        def see(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            top = inputs[0].detach().float().amax((0, 2, 3))
            largest[name] = torch.maximum(largest[name], top) if name in largest else top

        return see

    hooks = [
        module.register_forward_pre_hook(watch(name))
        for name, module in net.named_modules()
        if isinstance(module, _Conv)
    ]
    try:
        with torch.no_grad():
            for picture in pictures:
                x = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float()
                for quality in _QUALITIES:
                    net(x, torch.tensor([position(float(quality))]))
    finally:
        for hook in hooks:
            hook.remove()
    return {name: top <= 1e-6 for name, top in largest.items()}


@torch.no_grad()
def restart_dead_units(net: SicNet, pictures: Sequence[NDArray[np.uint8]]) -> int:
    """Give dead units of `net` another chance, in place; returns how many there were."""
    dead = dead_inputs(net, pictures)
    names = {module: name for name, module in net.named_modules()}
    count = 0
    for makers, takers, shown in _groups(net):
        mask = dead.get(names[shown])
        if mask is None or not mask.any():
            continue
        units = mask.nonzero()[:, 0]
        count += len(units)
        for maker in makers:
            _refresh(maker, units)
        for taker in takers:
            taker.weight[:, units] = 0.0
    for trunk, takers in _branches(net):
        if bool(dead[names[trunk.up]].all()):
            count += len(dead[names[trunk.up]])
            _restart(trunk, takers)
    return count


def _groups(net: SicNet) -> Iterator[_Group]:
    for module in net.modules():
        if isinstance(module, ResidualBlock):
            yield [module.conv1], [module.conv2], module.conv2
        if isinstance(module, Pass):
            seen = [module.from_seen] if module.from_seen is not None else []
            yield [module.from_state, *seen], [module.hidden], module.hidden
            yield [module.hidden], [module.out], module.out
    yield [net.h_a.down16], [net.h_a.out], net.h_a.out
    c = net.context
    states: tuple[tuple[State, list[_Conv]], ...] = (
        (c.state4, [c.pass4a.from_state, c.pass4b.from_state, c.state_up.conv]),
        (c.state2, [c.pass2a.from_state, c.pass2b.from_state, c.state1.conv]),
        (c.state1, [c.pass1a.from_state, c.pass1b.from_state, c.pass1c.from_state]),
    )
    for state, takers in states:
        yield [state], takers, takers[0]


def _branches(net: SicNet) -> Iterator[tuple[Trunk, list[_Conv]]]:
    yield net.g_a.trunk, [net.g_a.trunk.up, net.g_a.out16]
    if isinstance(net.g_s, Synthesis):
        yield net.g_s.trunk, [net.g_s.trunk.up]


def _refresh(maker: _Conv | State, units: Tensor) -> None:
    """Random weights for some outputs, as large as a new layer's."""
    if isinstance(maker, State):
        maker.shift.table[:, units] = 0.0
    conv = maker.conv if isinstance(maker, State) else maker
    bound = (conv.weight[0].numel()) ** -0.5
    conv.weight[units] = torch.empty_like(conv.weight[units]).uniform_(-bound, bound)
    if conv.bias is not None:
        conv.bias[units] = 0.0


def _restart(trunk: Trunk, takers: list[_Conv]) -> None:
    """The whole branch at 1/16 anew: every one of its last features was dead."""
    for conv in (trunk.down, trunk.in16):
        conv.reset_parameters()
    for table, value in ((trunk.modulate16.scale, 1.0), (trunk.modulate16.shift, 0.0)):
        table.table.fill_(value)
    for block in trunk.blocks16:
        if isinstance(block, ResidualBlock):
            fresh = ResidualBlock(block.conv1.in_channels)
            block.load_state_dict(fresh.state_dict())
    for taker in takers:
        taker.weight.zero_()
