"""The net that training starts from: new, or of model files and checkpoints."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from deepsic.errors import InputError, UsageError
from deepsic.models import registry
from deepsic.models.semantic.joint import JointNet
from deepsic.training.checkpoint import read_checkpoint
from deepsic.training.recipe import Recipe
from deepsic.weights import ModelFile, read, resolve

__all__ = [
    "Find", "begin", "from_checkpoint", "mean_of", "model_file_of", "new_net", "start_net",
]  # fmt: skip

_Net = TypeVar("_Net", bound=nn.Module)
Find = Callable[[str], Path]


def new_net(recipe: Recipe[Any, Any]) -> Any:
    """An untrained net of a recipe."""
    net = registry.load(registry.preset(recipe.preset).net)(recipe.net)
    return net if recipe.head is None else JointNet.of(net, recipe.head)


def start_net(recipe: Recipe[Any, Any], find: Find = resolve) -> Any:
    """A net with the weights that the recipe starts from.

    Args:
        find: gives the file of a model's name or place.

    Raises:
        InputError: a checkpoint that can't be read.
        UnknownModelError: no such model.
        UsageError: a model of another preset or other sizes.
    """
    made = new_net(recipe)
    nets = [_trained(name, recipe, find) for name in recipe.start]
    source = nets[0] if len(nets) == 1 else mean_of(nets)
    target = made.codec if isinstance(made, JointNet) and not isinstance(source, JointNet) else made
    try:
        _take(target, source)
    except (KeyError, RuntimeError) as error:
        raise UsageError(
            f"{', '.join(recipe.start)} has other sizes than recipe {recipe.name}: {error}"
        ) from None
    if isinstance(made, JointNet) and isinstance(source, JointNet):
        made.has_trained_head = True
    return made


def begin(net: Any, recipe: Recipe[Any, Any], images: Sequence[NDArray[np.uint8]]) -> str:
    """Set the weights that training starts from, as the preset's `begin` says; a codec that is
    frozen in the first stage stays as it is.

    Args:
        images: training images (H, W, 3), sides multiples of 32, to measure on.

    Returns: what was done, for the log; "" for nothing.
    """
    codec = net.codec if isinstance(net, JointNet) else net
    frozen = not any(p.requires_grad for p in codec.parameters())
    reference = registry.preset(recipe.preset).begin
    if frozen or not reference:
        return ""
    return str(registry.load(reference)(codec, images, trained=bool(recipe.start)))


def model_file_of(name: str, find: Find = resolve) -> ModelFile | None:
    """The model file that a start names; None for a checkpoint. `find` as in `start_net`.

    Raises:
        UnknownModelError: no such model.
    """
    path = find(name)
    return None if path.suffix == ".pt" else read(path)


def from_checkpoint(path: Path) -> tuple[Any, Recipe[Any, Any]]:
    """The running average of a training checkpoint, and its recipe.

    Raises:
        InputError: it can't be read.
    """
    state = read_checkpoint(path)
    recipe = Recipe.from_json(state["recipe"])
    net = new_net(recipe)
    try:
        net.load_state_dict(state["average"])
    except RuntimeError as error:
        raise InputError(f"{path} is of another version of this net: {error}") from error
    return net.eval(), recipe


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


def _trained(name: str, recipe: Recipe[Any, Any], find: Find) -> Any:
    file = model_file_of(name, find)
    if file is None:
        return from_checkpoint(find(name))[0]
    kin = registry.preset(recipe.preset)
    if registry.preset(file.preset).net != kin.net:
        raise UsageError(f"{name} is of preset {file.preset}; the recipe trains {recipe.preset}")
    net = registry.load(kin.restore)(file)
    if recipe.head is None:
        return net
    joint = JointNet.from_file(net, file, recipe.head)
    return net if joint is None else joint


def _take(target: Any, source: Any) -> None:
    """Weights of `source`, by the net's own rule where its sizes have grown since."""
    adopt = getattr(target, "adopt", None)
    if adopt is not None:
        adopt(source)
    else:
        target.load_state_dict(source.state_dict())
