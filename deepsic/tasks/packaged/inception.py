"""InceptionV3 out of the npm package `nsfwjs`, whose scripts hold its weights in 8 bits."""

from __future__ import annotations

import re
from base64 import b64decode
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.inception import BasicConv2d, inception_v3

from deepsic.errors import InputError
from deepsic.tasks.classifier import Classifier, Preparation
from deepsic.tasks.packaged.backbones import fold_norms
from deepsic.tasks.packaged.files import Pooled, own_file

__all__ = ["load_inception"]

_ARRAY = re.compile(
    r'{name:"([^"]+)",shape:\[([\d,]*)\],dtype:"float32",'
    r'quantization:{min:([^,]+),scale:([^,]+),dtype:"uint8"}}'
)
_BYTES = re.compile(r'\.exports="([A-Za-z0-9+/=]+)"')


def _arrays(folder: Path) -> dict[str, Tensor]:
    shards = sorted(folder.glob("group1-shard*.js"))
    data = b"".join(b64decode(_BYTES.findall(shard.read_text())[-1]) for shard in shards)
    arrays, at = {}, 0
    for name, shape, low, scale in _ARRAY.findall((folder / "model.min.js").read_text()):
        sides = [int(side) for side in shape.split(",")]
        values = np.frombuffer(data, np.uint8, int(np.prod(sides)), at).reshape(sides)
        arrays[name] = torch.from_numpy(values * float(scale) + float(low)).float()
        at += values.size
    return arrays


class _Recount(nn.Module):
    """Undoes that torchvision counts padding in its 3x3 means, which TensorFlow doesn't."""

    def forward(self, x: Tensor) -> Tensor:
        ones = x.new_ones(1, 1, *x.shape[2:])
        return x / F.avg_pool2d(ones, 3, 1, 1)


def _fill(network: nn.Module, arrays: dict[str, Tensor]) -> None:
    # Both number their convolutions in the order of Szegedy's figures.
    convs = [m for m in network.modules() if isinstance(m, BasicConv2d)]
    for number, module in enumerate(convs, 1):
        norm = f"batch_normalization_{number}/"
        module.conv.load_state_dict(
            {"weight": arrays[f"conv2d_{number}/kernel"].permute(3, 2, 0, 1).contiguous()}
        )
        beta = arrays[norm + "beta"]
        module.bn.load_state_dict(
            {
                "weight": torch.ones_like(beta),
                "bias": beta,
                "running_mean": arrays[norm + "moving_mean"],
                "running_var": arrays[norm + "moving_variance"],
                "num_batches_tracked": torch.tensor(0),
            }
        )


def load_inception(weights: str | Path | None = None) -> Classifier:
    """InceptionV3 of ImageNet's classes, then of five others; it answers with 2048 means.

    Args:
        weights: `dist/models/inception_v3` of the package; None: the folder of that name in
            `$DEEPSIC_NETWORKS`.

    Raises:
        UsageError: there is no such folder.
        InputError: the folder doesn't hold the network.
    """
    name = "inception-v3-features"
    path = Path(weights or own_file(name, "inception_v3", "npm's nsfwjs, dist/models"))
    network = inception_v3(weights=None, aux_logits=False, init_weights=False)
    try:
        _fill(network, _arrays(path))
    except (OSError, IndexError, KeyError, RuntimeError, ValueError) as error:
        raise InputError(f"{path.name} holds no weights of {name}: {error}") from error
    for part in network.modules():
        if isinstance(getattr(part, "branch_pool", None), BasicConv2d):
            part.branch_pool = nn.Sequential(_Recount(), part.branch_pool)
    last = ("avgpool", "dropout", "fc")
    maps = nn.Sequential(*[m for n, m in fold_norms(network).named_children() if n not in last])
    preparation = Preparation(size=299, mean=(0.0,) * 3, std=(255.0,) * 3)
    return Classifier(name, Pooled(maps), preparation, default_layer="maps.14")
