"""Ours: weights that make the untrained net a lapped transform, so that training starts there.

A net of this size takes days from random weights on a CPU. The four stages can hold a linear
transform of 16x16 pixels over blocks of 8x8 exactly: stage 1 keeps the 4x4 pixels of its place,
stage 2 puts 4x4 such places together, stages 3 and 4 start at zero beside their identity paths; the
mirror likewise, a pair of channels carrying both signs through its ReLU. The transform is Malvar's
lapped orthogonal one (LOT, 1990) of Y, Cb and Cr, whose bands are ordered by variance. The
filters left over start at random, with nothing reading them.

A band wider than six bits at the finest step is given 2 P + 1 channels that hold 63 levels each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from deepsic.errors import UsageError
from deepsic.models.fourstage.net import HALF_RANGE, FourStageNet
from deepsic.models.fourstage.semantic import WholeModule
from deepsic.models.fourstage.stages import ExtractionStage, ReconstructionStage
from deepsic.models.quality import base_step

__all__ = ["begin", "lapped_basis", "start_linear"]

BLOCK, SUPPORT = 8, 16
_PART = 4
_SPAN = 63
"""Levels between the stretches of two channels of a band."""
_MOST_PIECES = 7
_ANGLES = (0.13, 0.16, 0.13)
_YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
_CHROMA = 0.6
_FINEST = 0.85
"""Place on the quality scale whose step the channels of a band are counted for."""
_FITTED, _FITTED_AT = 224, (0.15, 0.45, 0.75)
"""How much of an image a semantic module's linear map is fitted on, and at which qualities."""
_MEASURED, _SIDE = 12, 160
"""Images that normalisation is measured on, and how much of each."""


def begin(net: FourStageNet, images: Sequence[NDArray[np.uint8]], *, trained: bool) -> str:
    """Start a new net from the lapped transform, as `registry.Preset.begin`. Raises as
    `start_linear`."""
    semantic = net.semantic
    if isinstance(semantic, WholeModule) and not semantic.measured and trained:
        _fit(net, semantic, images)
        return "what the semantic module sees was fitted to images"
    if trained or not net.config.linear_start:
        return ""
    start_linear(net, images)
    net.train()
    return "started from a lapped transform"


@torch.no_grad()
def _fit(net: FourStageNet, semantic: WholeModule, images: Sequence[NDArray[np.uint8]]) -> None:
    features, seen = [], []
    training = net.training
    net.eval()
    for image in images:
        x = torch.from_numpy(image[:_FITTED, :_FITTED].copy()).permute(2, 0, 1)[None].float()
        for place in _FITTED_AT:
            at = torch.tensor([place])
            features.append(net.shared(net.analyse(x, at)[1], at, rounded=True))
            seen.append(x)
    semantic.fit(features, seen)
    net.train(training)


def lapped_basis() -> NDArray[np.float64]:
    """Malvar's type-I fast LOT of 8 bands: (16, 8) with orthonormal columns, by frequency."""
    n, k = np.mgrid[:BLOCK, :BLOCK]
    dct = np.sqrt(2 / BLOCK) * np.cos((2 * n + 1) * k * np.pi / (2 * BLOCK))
    dct[:, 0] /= np.sqrt(2)
    even, odd = dct[:, ::2], dct[:, 1::2]
    inner = even - odd
    first = np.block([[inner, inner], [inner[::-1], -inner[::-1]]]) / 2
    rotate = np.eye(4)
    for at, angle in enumerate(_ANGLES):
        plane = np.eye(4)
        c, s = math.cos(angle * math.pi), math.sin(angle * math.pi)
        plane[at : at + 2, at : at + 2] = [[c, s], [-s, c]]
        rotate = rotate @ plane
    first[:, 4:] = first[:, 4:] @ rotate
    order = [0, 4, 1, 5, 2, 6, 3, 7]
    return np.asarray(first[:, order])


def start_linear(net: FourStageNet, pictures: Sequence[NDArray[np.uint8]]) -> None:
    """Set a net's weights to the lapped transform, measured and normalised on images.

    Args:
        net: with the strides (4, 2, 1, 1); changed in place.
        pictures: (H, W, 3) uint8, sides of at least 16.

    Raises:
        UsageError: other strides, or too few filters.
    """
    c = net.config
    if c.strides != (4, 2, 1, 1) or not c.many_rates:
        raise UsageError(f"the linear start is for strides 4, 2, 1, 1 and many rates, not {c}")
    if c.filters < 2 * 3 * _PART**2:
        raise UsageError(f"filters={c.filters}: the linear start needs {2 * 3 * _PART**2}")
    basis = lapped_basis()
    x = [_tensor(image) for image in pictures]
    f = [_transform(image, basis) for image in x]
    flat = torch.cat([part.flatten(2)[0] for part in f], 1)
    channels = _assign(net, flat)
    with torch.no_grad():
        _extraction(net, basis, channels)
        _reconstruction(net, basis, channels)
        _normalise(net, x)
        spread = flat[[band for band, _ in channels]].std(1).clamp(min=1e-3)
        net.density.centre.copy_(flat[[b for b, _ in channels]].median(1).values[:, None])
        widths = torch.tensor([0.12, 0.4, 1.2])
        net.density.log_scale.copy_((spread[:, None] * widths).log())


def _tensor(image: NDArray[np.uint8]) -> Tensor:
    x = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
    height, width = (side // BLOCK * BLOCK for side in x.shape[2:])
    return x[..., :height, :width] / HALF_RANGE - 1


def _colours() -> tuple[Tensor, Tensor]:
    """From R, G, B to Y, Cb, Cr (BT.601), and back: (3, 3) each.

    Each colour is scaled to what an error in it weighs in R, G and B together, so that one step
    serves all; chroma then by `_CHROMA`, since luma is what the paper's Figures 6 and 7 measure.
    """
    to = torch.tensor(_YCBCR, dtype=torch.float64)
    back = torch.linalg.inv(to)
    weigh = back.square().sum(0).sqrt() * torch.tensor([1.0, _CHROMA, _CHROMA])
    return (weigh[:, None] * to).float(), (back / weigh).float()


def _transform(x: Tensor, basis: NDArray[np.float64]) -> Tensor:
    """All 192 bands (1, 192, h, w): colour, then vertical, then horizontal frequency."""
    b = torch.from_numpy(basis).float()
    kernel = torch.einsum("cr,ij,kl->cjlrik", _colours()[0], b, b).reshape(-1, 3, SUPPORT, SUPPORT)
    return functional.conv2d(functional.pad(x, (4, 4, 4, 4), mode="reflect"), kernel, stride=BLOCK)


def _assign(net: FourStageNet, flat: Tensor) -> list[tuple[int, int]]:
    """(band, piece) of every channel, bands by variance; sets `enter`, `leave`, `gain_mask`."""
    finest = float(base_step(torch.tensor([_FINEST]))[0]) / HALF_RANGE
    wide = torch.quantile(flat.abs()[:, :: max(1, flat.shape[1] // 20_000)], 0.9995, dim=1)
    channels: list[tuple[int, int]] = []
    for band in flat.square().mean(1).argsort(descending=True).tolist():
        outer = max(0, math.ceil((float(wide[band]) / finest - 31.5) / _SPAN))
        pieces = min(outer, _MOST_PIECES // 2)
        some = [0] + [sign * p for p in range(1, pieces + 1) for sign in (1, -1)]
        if len(channels) + len(some) > net.config.filters:
            some = [0]
        channels += [(band, piece) for piece in some]
        if len(channels) >= net.config.filters:
            break
    channels = channels[: net.config.filters]
    many = {band for band, piece in channels if piece}
    piece = torch.tensor([float(p) for _, p in channels])
    net.enter.copy_(_SPAN * piece)
    net.leave.copy_(torch.where(piece > 0, 32.0, torch.where(piece < 0, -31.0, 0.0)))
    net.gain_mask.copy_(torch.tensor([0.0 if band in many else 1.0 for band, _ in channels]))
    return channels


def _places(basis: NDArray[np.float64], band: int) -> Tensor:
    """A band's kernel (16, 16), and as stage 2 sees it: (16 places of a 4x4 cell, 4, 4 cells)."""
    vertical, horizontal = band % 64 // 8, band % 8
    kernel = torch.from_numpy(np.outer(basis[:, vertical], basis[:, horizontal])).float()
    return kernel.view(4, _PART, 4, _PART).permute(1, 3, 0, 2).reshape(_PART**2, 4, 4)


def _zero_paths(stages: Sequence[ExtractionStage | ReconstructionStage]) -> None:
    for stage in stages:
        if isinstance(stage.path, nn.Conv2d):
            nn.init.zeros_(stage.path.weight)


def _extraction(
    net: FourStageNet, basis: NDArray[np.float64], channels: list[tuple[int, int]]
) -> None:
    first, second = net.extraction.parts()[:2]
    _zero_paths(net.extraction.parts())
    colours, _ = _colours()
    first.conv.weight[: 3 * _PART**2] = 0
    second.conv.weight.zero_()
    for colour in range(3):
        for cell in range(_PART**2):
            y, x = 3 + cell // _PART, 3 + cell % _PART
            first.conv.weight[colour * _PART**2 + cell, :, y, x] = colours[colour]
    for channel, (band, _) in enumerate(channels):
        start = band // 64 * _PART**2
        second.conv.weight[channel, start : start + _PART**2, 1:, 1:] = _places(basis, band)
        for axis, sign in ((band % 64 // 8, net.mirror_y), (band % 8, net.mirror_x)):
            sign[channel] = float(np.sign(basis[::-1, axis] @ basis[:, axis]))


def _reconstruction(
    net: FourStageNet, basis: NDArray[np.float64], channels: list[tuple[int, int]]
) -> None:
    last, second = net.reconstruction.parts()[:2]
    _zero_paths(net.reconstruction.parts())
    pixels = 3 * _PART**2
    last.conv.weight.zero_()
    for bias in (last.conv.bias, second.conv.bias):
        if bias is not None:
            bias.zero_()
    second.conv.weight[:, : 2 * pixels] = 0
    _, back = _colours()
    for colour in range(3):
        for cell in range(_PART**2):
            y, x = 3 + cell // _PART, 3 + cell % _PART
            place = colour * _PART**2 + cell
            last.conv.weight[place, :, y, x] = back[:, colour]
            last.conv.weight[pixels + place, :, y, x] = -back[:, colour]
    for channel, (band, _) in enumerate(channels):
        start = band // 64 * _PART**2
        places = _places(basis, band)
        second.conv.weight[channel, start : start + _PART**2, 1:, 1:] = places
        second.conv.weight[channel, pixels + start : pixels + start + _PART**2, 1:, 1:] = -places


@torch.no_grad()
def _normalise(net: FourStageNet, pictures: Sequence[Tensor]) -> None:
    """Fix each stage's statistics to those of images, without changing the linear path."""
    norms = [stage.norm for stage in net.extraction.parts()]
    mirror = [stage.norm for stage in net.reconstruction.parts()[::-1]]
    norms += [norm for norm in mirror if isinstance(norm, nn.BatchNorm2d)]
    linear = {id(norms[0]), id(norms[1]), id(norms[-1])}
    zero = [norm for norm in norms if id(norm) not in linear]
    for norm in zero:
        norm.weight.zero_()
    gathered: dict[int, list[Tensor]] = {id(norm): [] for norm in norms}

    def gather(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        gathered[id(norm)].append(inputs[0].transpose(0, 1).flatten(1))

    hooks = [norm.register_forward_pre_hook(gather) for norm in norms]
    net.eval()
    for image in pictures[:_MEASURED]:
        net((image[..., :_SIDE, :_SIDE] + 1) * HALF_RANGE, torch.tensor([0.5]))
    for hook in hooks:
        hook.remove()
    for norm in norms:
        values = torch.cat(gathered[id(norm)], 1)
        mean, variance = values.mean(1), values.var(1).clamp(min=1e-4)
        norm.load_state_dict({"running_mean": mean, "running_var": variance}, strict=False)
        if id(norm) in linear:
            norm.weight.copy_((variance + norm.eps).sqrt())
            norm.bias.copy_(mean)
