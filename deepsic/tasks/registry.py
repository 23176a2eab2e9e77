"""Load a downstream network by name."""

from __future__ import annotations

from pathlib import Path

from torchvision.models import detection as _detection
from torchvision.models import list_models

from deepsic.errors import UsageError
from deepsic.tasks.classifier import Classifier
from deepsic.tasks.detector import Detector
from deepsic.tasks.efficientnet import load_efficientnet_lite
from deepsic.tasks.fastestdet import load_fastestdet
from deepsic.tasks.packaged import (
    ONNX_NETS,
    TFLITE_NETS,
    load_deepsort_mobilenet,
    load_dinov2,
    load_hed_vgg,
    load_inception,
    load_onnx_net,
    load_tflite_net,
)
from deepsic.tasks.squeezenet import load_squeezenet
from deepsic.tasks.torchvision_nets import load_torchvision_classifier, load_torchvision_detector

__all__ = [
    "CLASSIFIERS",
    "DETECTORS",
    "OBSERVERS",
    "check_classifier",
    "load_classifier",
    "load_detector",
    "load_observer",
]

_LITE = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")
#: Of torchvision: name -> layer whose maps the semantic losses read by default.
_TORCHVISION = {"resnet18": "layer3", "vgg16": "features.23"}

#: They answer with features, not with classes.
_BACKBONES = {
    "mobilenet-v2-features": load_deepsort_mobilenet,
    "dinov2-small": load_dinov2,
    "hed-vgg16": load_hed_vgg,
    "inception-v3-features": load_inception,
}

CLASSIFIERS: tuple[str, ...] = (*_LITE, "squeezenet", *_TORCHVISION, *TFLITE_NETS)
OBSERVERS: tuple[str, ...] = (*CLASSIFIERS, *_BACKBONES, *ONNX_NETS)
DETECTORS: tuple[str, ...] = ("fastestdet", *list_models(module=_detection))


def check_classifier(name: str) -> None:
    """Raise `UsageError` unless `name` is one of `CLASSIFIERS`."""
    if name not in CLASSIFIERS:
        raise UsageError(f"no classifier {name!r}; choose from {', '.join(CLASSIFIERS)}")


def load_classifier(name: str, weights: str | Path | None = None) -> Classifier:
    """Load a frozen ImageNet classifier.

    Args:
        name: one of `CLASSIFIERS`.
        weights: path of a state dict; None takes the package's weights (EfficientNet-Lite,
            SqueezeNet: offline) or torchvision's own download (ResNet18, VGG16). The MobileNets
            take a TensorFlow Lite file, by default out of `$DEEPSIC_NETWORKS`.

    Raises:
        UsageError: unknown name, or its package isn't installed.
        InputError: the weights can't be read or downloaded.
    """
    check_classifier(name)
    if name in _LITE:
        return load_efficientnet_lite(name, weights)
    if name == "squeezenet":
        return load_squeezenet(weights)
    if name in TFLITE_NETS:
        return load_tflite_net(name, weights)
    return load_torchvision_classifier(name, _TORCHVISION[name], weights)


def load_observer(name: str, weights: str | Path | None = None) -> Classifier:
    """Load a frozen network that can teach a codec what to keep, whatever its own task.

    Args:
        name: one of `OBSERVERS`: a classifier, or a backbone that answers with features.
        weights: path of its file; None takes that of its package, or of `$DEEPSIC_NETWORKS`.

    Raises:
        UsageError: unknown name, or its package isn't installed.
        InputError: the weights can't be read or downloaded.
    """
    if name in _BACKBONES:
        return _BACKBONES[name](weights)
    if name in ONNX_NETS:
        return load_onnx_net(name, weights)
    if name in CLASSIFIERS:
        return load_classifier(name, weights)
    raise UsageError(f"no network {name!r}; choose from {', '.join(OBSERVERS)}")


def load_detector(name: str, weights: str | Path | None = None) -> Detector:
    """Load a frozen detector of COCO's 80 classes.

    Args:
        name: one of `DETECTORS`.
        weights: path of a state dict; needed for fastestdet, else None lets torchvision
            download its own.

    Raises:
        UsageError: unknown name, or fastestdet without a path.
        InputError: the weights can't be read or downloaded.
    """
    if name == "fastestdet":
        return load_fastestdet(weights)
    if name in DETECTORS:
        return load_torchvision_detector(name, weights)
    raise UsageError(f"no detector {name!r}; choose from {', '.join(DETECTORS)}")
