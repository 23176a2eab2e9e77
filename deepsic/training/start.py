"""A trained net to go on from: a training checkpoint, or a model file that ships."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from deepsic.errors import InputError, UsageError
from deepsic.models.saic.engine import unpack_binary
from deepsic.models.saic.net import BinaryConfig, BinaryNet
from deepsic.models.sic.net import SicNet
from deepsic.models.sic.trainable import from_model_file
from deepsic.training.config import TrainConfig
from deepsic.weights import read, resolve

__all__ = ["from_checkpoint", "load_fixed_rate", "load_start", "mean_of"]

_NEW = "saic:"
_Net = TypeVar("_Net", bound=nn.Module)


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
