"""MobileNetV1 and V2 of ImageNet's classes out of TensorFlow Lite files of 8-bit weights.

TensorFlow's authors publish these files, and so does Coral's test data. They're run in floats:
weights are what 8 bits leave of them, activations aren't rounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v2

from deepsic.errors import InputError, UsageError
from deepsic.tasks.classifier import Classifier, Preparation
from deepsic.tasks.packaged.backbones import fold_norms
from deepsic.tasks.packaged.files import own_file

__all__ = ["TFLITE_NETS", "load_tflite_net"]

#: Name -> side of the input, the layer at 1/16, and the file.
TFLITE_NETS = {
    "mobilenet-v1-075": (192, "maps.11", "mobilenet_v1_0.75_192_quant.tflite"),
    "mobilenet-v2": (224, "features.13", "mobilenet_v2_1.0_224_quant.tflite"),
}


@dataclass(frozen=True)
class _Conv:
    kernel: Tensor
    """As torch has it."""
    bias: Tensor
    groups: int
    stride: int

    def module(self) -> nn.Module:
        """The convolution, padded as TensorFlow pads even sides: below and right."""
        out, inner, side, _ = self.kernel.shape
        padding = side // 2 if self.stride == 1 else 0
        ins = inner * self.groups
        conv = nn.Conv2d(ins, out, side, self.stride, padding, groups=self.groups)
        conv.load_state_dict({"weight": self.kernel, "bias": self.bias})
        return conv if self.stride == 1 else nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), conv)


def _floats(tensor: Any, buffer: Any) -> Tensor:
    kinds = {2: np.int32, 3: np.uint8, 9: np.int8}  # TensorType
    values = np.frombuffer(buffer.DataAsNumpy(), kinds[tensor.Type()])
    values = values.reshape(tensor.ShapeAsNumpy()).astype(np.float64)
    q = tensor.Quantization()
    shape = [1] * values.ndim
    shape[q.QuantizedDimension()] = -1
    scale, zero = (v.reshape(shape) for v in (q.ScaleAsNumpy(), q.ZeroPointAsNumpy()))
    return torch.from_numpy((values - zero) * scale).float()


def _convolutions(path: Path) -> Iterator[_Conv]:
    try:
        import tflite
    except ModuleNotFoundError as error:
        raise UsageError("these files need the package tflite; pip install tflite") from error
    model = tflite.Model.GetRootAsModel(path.read_bytes(), 0)
    graph = model.Subgraphs(0)
    kinds = (tflite.BuiltinOperator.CONV_2D, tflite.BuiltinOperator.DEPTHWISE_CONV_2D)
    for step in map(graph.Operators, range(graph.OperatorsLength())):
        code = model.OperatorCodes(step.OpcodeIndex())
        kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if kind not in kinds:
            continue
        x, *arrays, y = map(graph.Tensors, [*step.InputsAsNumpy(), *step.OutputsAsNumpy()])
        kernel, bias = (_floats(a, model.Buffers(a.Buffer())) for a in arrays)
        deep = kind == tflite.BuiltinOperator.DEPTHWISE_CONV_2D  # 1xHxWxC; else OxHxWxI
        kernel = kernel.permute(3, 0, 1, 2) if deep else kernel.permute(0, 3, 1, 2)
        stride = x.Shape(1) // y.Shape(1)
        yield _Conv(kernel.contiguous(), bias, len(kernel) if deep else 1, stride)


class _V1(nn.Module):
    """Depthwise and pointwise convolutions one after the other."""

    def __init__(self, convs: list[_Conv]) -> None:
        super().__init__()
        first, *rest = [nn.Sequential(c.module(), nn.ReLU6()) for c in convs]
        blocks = [nn.Sequential(a, b) for a, b in zip(rest[::2], rest[1::2], strict=True)]
        self.maps = nn.Sequential(first, *blocks)
        self.classes = nn.Linear(convs[-1].kernel.shape[0], 1000)

    def forward(self, x: Tensor) -> Tensor:
        """Prepared images -> Bx1000."""
        y: Tensor = self.classes(self.maps(x).mean((2, 3)))
        return y


def _v1(convs: list[_Conv]) -> tuple[nn.Module, nn.Module]:
    network = _V1(convs)
    return network, network.classes


def _v2(convs: list[_Conv]) -> tuple[nn.Module, nn.Module]:
    network = fold_norms(mobilenet_v2(weights=None))
    places = [n for n, m in network.named_modules() if isinstance(m, nn.Conv2d)]
    for place, conv in zip(places, convs, strict=True):
        outer, _, last = place.rpartition(".")
        if network.get_submodule(place).weight.shape != conv.kernel.shape:
            raise ValueError(f"{place} is of another shape")
        setattr(network.get_submodule(outer), last, conv.module())
    return network, network.get_submodule("classifier.1")


def load_tflite_net(name: str, weights: str | Path | None = None) -> Classifier:
    """One of `TFLITE_NETS`, from a path or `$DEEPSIC_NETWORKS`.

    Raises:
        UsageError: there is no file, or the package `tflite` is missing.
        InputError: the file isn't the network.
    """
    side, layer, file = TFLITE_NETS[name]
    path = Path(weights or own_file(name, file, "TensorFlow's hosted models"))
    try:
        *convs, last = _convolutions(path)
        network, classes = (_v2 if name == "mobilenet-v2" else _v1)(convs)
        # Class 0 is for nothing of ImageNet.
        classes.load_state_dict({"weight": last.kernel[1:, :, 0, 0], "bias": last.bias[1:]})
    except UsageError:
        raise
    except Exception as error:  # flatbuffers' own have no common base
        raise InputError(f"{path.name} holds no weights of {name}: {error}") from error
    preparation = Preparation(size=side, mean=(127.5,) * 3, std=(127.5,) * 3)
    return Classifier(name, network, preparation, default_layer=layer)
