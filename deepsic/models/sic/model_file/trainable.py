"""A model file back to a net that takes gradients: to train on, or to refine latents with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from deepsic.errors import UnknownModelError
from deepsic.models.blocks import QualityTable
from deepsic.models.integer import ACTIVATION_STEPS, WEIGHT_STEPS, IntegerConv
from deepsic.models.quality import QUALITIES
from deepsic.models.sic.config import SicConfig
from deepsic.models.sic.entropy_model import likelihood
from deepsic.models.sic.entropy_model.context import State
from deepsic.models.sic.entropy_model.serial import Colour, HyperNet
from deepsic.models.sic.entropy_model.serial_tables import CHANNEL
from deepsic.models.sic.net import SicNet
from deepsic.weights import ModelFile

__all__ = ["from_model_file"]


def from_model_file(model: ModelFile) -> SicNet:
    """A net whose probability model is the file's integers, back on their grid.

    Files hold tables where nets have formulas: those of hyper-latent and lowest band come back
    to the nearest scale class, which costs well under a percent of rate and trains away.

    Raises:
        UnknownModelError: another preset than `sic`, or tensors are missing.
    """
    if model.preset != "sic":
        raise UnknownModelError(f"only preset sic can be trained on or refined, not {model.preset}")
    # Trained on, it becomes a model of today's arithmetic.
    config = replace(SicConfig.from_file(model.config), rounded_sums=False)
    net, t = SicNet(config), model.tensors
    floats = {name[4:]: value.float() for name, value in t.items() if name.startswith("net.")}
    try:
        net.load_state_dict(floats, strict=False)
        with torch.no_grad():
            for name, module in net.context.named_modules():
                if isinstance(module, IntegerConv):
                    steps = _steps(t, name, len(module.weight))
                    weight = t[f"int.{name}.weight"].double() / steps[:, None, None, None]
                    module.weight.copy_(weight)
                    if module.bias is not None:
                        module.bias.copy_(t[f"int.{name}.bias"] / (steps * ACTIVATION_STEPS))
                if isinstance(module, State | Colour | HyperNet):
                    layer = "conv" if isinstance(module, State) else "first"
                    outputs = module.shift.table.shape[1]
                    steps = _steps(t, f"{name}.{layer}", outputs) * ACTIVATION_STEPS
                    module.shift.table.copy_(_nodes(t[f"table.shift.{name}"].double() / steps))
                if isinstance(module, HyperNet):
                    module.channel.copy_(t[CHANNEL].double() / steps)
            z_scales = likelihood.log_scale(t["table.z_classes"].float())
            if isinstance(net.z_log_scale, QualityTable):
                net.z_log_scale.table.copy_(_nodes(z_scales.double()))
            else:
                net.z_log_scale.copy_(z_scales)
            net.ll_scale.copy_(_line(likelihood.log_scale(t["table.ll_classes"].float())))
    except (KeyError, RuntimeError) as error:
        raise UnknownModelError(f"model file is incomplete: {error}") from None
    return net.eval()


def _steps(tensors: Mapping[str, Tensor], name: str, outputs: int) -> Tensor:
    """Steps of a unit of weight (D,), of a layer."""
    shift = tensors.get(f"int.{name}.shift")
    if shift is None:
        return torch.full((outputs,), WEIGHT_STEPS, dtype=torch.float64)
    return torch.exp2(shift.double())


def _nodes(values: Tensor) -> Tensor:
    """Table of nodes whose interpolation at 100 qualities is nearest to `values` (100, C), of each
    tuning."""
    at = torch.linspace(0, 1, QUALITIES, dtype=values.dtype) * (QualityTable.NODES - 1)
    low = at.floor().clamp(max=QualityTable.NODES - 2).long()
    basis = values.new_zeros(len(at), QualityTable.NODES)
    rows = torch.arange(len(at))
    basis[rows, low], basis[rows, low + 1] = 1 - (at - low), at - low
    each = [torch.linalg.lstsq(basis, part).solution for part in torch.split(values, len(at))]
    return torch.cat(each).float()


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
