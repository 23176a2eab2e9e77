"""A trained net to go on from: a training checkpoint, or a model file that ships."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from deepsic.errors import InputError, UnknownModelError, UsageError
from deepsic.models import likelihood
from deepsic.models.binary import BinaryConfig, BinaryNet
from deepsic.models.binary_engine import unpack_binary
from deepsic.models.blocks import QualityTable
from deepsic.models.integer import ACTIVATION_STEPS, WEIGHT_STEPS, IntegerConv
from deepsic.models.sic import SicConfig, SicNet
from deepsic.training.config import TrainConfig
from deepsic.weights import ModelFile, read, resolve

__all__ = ["from_checkpoint", "from_model_file", "load_fixed_rate", "load_start", "mean_of"]

_NEW = "saic:"
_Net = TypeVar("_Net", bound=nn.Module)
_SHIFT_STEPS = ACTIVATION_STEPS * WEIGHT_STEPS


def load_start(name: str | os.PathLike[str]) -> SicNet:
    """A trainable net from a checkpoint (`.pt`), a model file, or a shipped model's name.

    Raises:
        InputError: a checkpoint that can't be read.
        UnknownModelError: no such model, or one of another preset.
    """
    if Path(name).suffix == ".pt":
        return from_checkpoint(Path(name))
    return from_model_file(read(resolve(name)))


def load_fixed_rate(name: str) -> BinaryNet | None:
    """A trainable net of preset `saic`, or None where `name` is something else.

    Args:
        name: a model file of the preset, or "saic:0.125" for a new net of that many bits a pixel.

    Raises:
        UsageError: a rate that the preset can't have.
        UnknownModelError: no such model.
    """
    if name.startswith(_NEW):
        try:
            bpp = float(name.removeprefix(_NEW))
        except ValueError:
            raise UsageError(f"{name}: give bits a pixel, such as saic:0.125") from None
        return BinaryNet(BinaryConfig.for_bpp(bpp))
    if Path(name).suffix == ".pt":
        return None
    model = read(resolve(name))
    return unpack_binary(model, torch.device("cpu")).net if model.preset == "saic" else None


def mean_of(nets: Sequence[_Net]) -> _Net:
    """Mean of the weights of nets that were fine-tuned from one start; they are left as they are.

    It does better than each where their runs differ in noise (Wortsman et al. 2022, model soups).

    Raises:
        UsageError: nets of other shapes, or none.
    """
    states = [net.state_dict() for net in nets]
    shapes = [{name: value.shape for name, value in state.items()} for state in states]
    if not nets or any(other != shapes[0] for other in shapes):
        raise UsageError("only models of one shape have a mean")
    mean = {
        name: torch.stack([state[name] for state in states]).mean(0)
        if value.is_floating_point()
        else value
        for name, value in states[0].items()
    }
    net = copy.deepcopy(nets[0])
    net.load_state_dict(mean)
    return net


def from_checkpoint(path: Path) -> SicNet:
    """The running average of a training checkpoint."""
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        net = SicNet(TrainConfig.from_json(saved["config"]).model)
        net.load_state_dict(saved["average"])
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise InputError(f"{path} is no training checkpoint: {error}") from error
    return net.eval()


def from_model_file(model: ModelFile) -> SicNet:
    """A net whose probability model is the file's integers, back on their grid.

    Files hold tables where nets have formulas: those of hyper-latent and lowest band come back
    to the nearest scale class, which costs well under a percent of rate and trains away.

    Raises:
        UnknownModelError: another preset than `sic`, or tensors are missing.
    """
    if model.preset != "sic":
        raise UnknownModelError(f"only preset sic can be fine-tuned, not {model.preset}")
    # Trained on, it becomes a model of today's arithmetic.
    config = replace(SicConfig.from_file(model.config), rounded_sums=False)
    net, t = SicNet(config), model.tensors
    floats = {name[4:]: value.float() for name, value in t.items() if name.startswith("net.")}
    try:
        net.load_state_dict(floats, strict=False)
        with torch.no_grad():
            for name, module in net.context.named_modules():
                if isinstance(module, IntegerConv):
                    module.weight.copy_(t[f"int.{name}.weight"].float() / WEIGHT_STEPS)
                    if module.bias is not None:
                        module.bias.copy_(t[f"int.{name}.bias"].double() / _SHIFT_STEPS)
                if isinstance(module, QualityTable):
                    state = name.split(".")[0]
                    module.table.copy_(_nodes(t[f"table.shift.{state}"].double() / _SHIFT_STEPS))
            net.z_log_scale.copy_(likelihood.log_scale(t["table.z_classes"].float()))
            net.ll_scale.copy_(_line(likelihood.log_scale(t["table.ll_classes"].float())))
    except (KeyError, RuntimeError) as error:
        raise UnknownModelError(f"model file is incomplete: {error}") from None
    return net.eval()


def _nodes(values: Tensor) -> Tensor:
    """Table of nodes whose interpolation at 100 qualities is nearest to `values` (100, C)."""
    at = torch.linspace(0, 1, len(values), dtype=values.dtype) * (QualityTable.NODES - 1)
    low = at.floor().clamp(max=QualityTable.NODES - 2).long()
    basis = values.new_zeros(len(values), QualityTable.NODES)
    rows = torch.arange(len(values))
    basis[rows, low], basis[rows, low + 1] = 1 - (at - low), at - low
    return torch.as_tensor(torch.linalg.lstsq(basis, values).solution.float())


def _line(log_s: Tensor) -> Tensor:
    """Offset and slope (2, C) over log(1 + activity / 2) of log scales (C, 256)."""
    activity = torch.log1p(0.5 * torch.arange(float(log_s.shape[1])))
    inside = log_s[:, 1:] < likelihood.log_scale(torch.tensor(likelihood.SCALES - 1.5)) - math.ulp(
        1
    )
    lines = []
    for row, kept in zip(log_s[:, 1:], inside, strict=True):
        kept = kept if int(kept.sum()) > 2 else torch.ones_like(kept)
        basis = torch.stack((torch.ones_like(activity[1:]), activity[1:]), 1)[kept]
        lines.append(torch.linalg.lstsq(basis, row[kept, None]).solution[:, 0])
    return torch.stack(lines, 1)
