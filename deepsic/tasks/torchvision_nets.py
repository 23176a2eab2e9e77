"""Classifiers and detectors of torchvision, from a weights path or its own download."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights

from deepsic.errors import InputError
from deepsic.tasks.classifier import Classifier, Preparation
from deepsic.tasks.detector import Detection, Detector

__all__ = ["TorchvisionDetector", "load_torchvision_classifier", "load_torchvision_detector"]

#: Scores below this never reach a curve of precision and recall.
_MIN_SCORE = 0.001


def _load_state(network: nn.Module, name: str, weights: str | Path) -> nn.Module:
    try:
        network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError) as error:
        raise InputError(f"{Path(weights).name} holds no weights of {name}: {error}") from error
    return network


def _download(name: str) -> nn.Module:
    """Build `name` with the weights that torchvision itself fetches and caches."""
    try:
        network: nn.Module = get_model(name, weights="DEFAULT")
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"weights of {name} could not be downloaded ({error}); give a weights path"
        ) from error
    return network


def load_torchvision_classifier(
    name: str, default_layer: str, weights: str | Path | None = None
) -> Classifier:
    """A classifier of 1000 ImageNet classes, 224x224, such as resnet18 or vgg16.

    Raises:
        InputError: the weights can't be read, or downloaded if `weights` is None.
    """
    if weights is None:
        network = _download(name)
    else:
        network = _load_state(get_model(name, weights=None), name, weights)
    preparation = Preparation(size=224, mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
    return Classifier(name, network, preparation, default_layer)


def _contiguous_labels(name: str) -> Tensor:
    """Table from torchvision's label (COCO id, with gaps) to 0-79; gaps and background -1."""
    categories = get_model_weights(name)["DEFAULT"].meta["categories"]
    table, number = [], 0
    for category in categories:
        known = category not in ("__background__", "N/A")
        table.append(number if known else -1)
        number += known
    return torch.tensor(table)


class TorchvisionDetector(Detector):
    """A detector of torchvision behind the same interface as ours."""

    def __init__(self, name: str, network: nn.Module) -> None:
        super().__init__()
        self.name = name
        self.network = network.requires_grad_(False)
        self.register_buffer("table", _contiguous_labels(name), persistent=False)
        self.eval()

    def _detect(self, images: list[Tensor]) -> list[Detection]:
        found = []
        table = self.get_buffer("table")
        for output in self.network(images):
            labels = table[output["labels"]]
            keep = (labels >= 0) & (output["scores"] >= _MIN_SCORE)
            found.append(
                Detection(
                    boxes=output["boxes"][keep], scores=output["scores"][keep], labels=labels[keep]
                )
            )
        return found


def load_torchvision_detector(name: str, weights: str | Path | None = None) -> TorchvisionDetector:
    """A detector of `torchvision.models.detection`, by its name there.

    Raises:
        InputError: the weights can't be read, or downloaded if `weights` is None.
    """
    if weights is None:
        return TorchvisionDetector(name, _download(name))
    network = get_model(name, weights=None, weights_backbone=None)
    return TorchvisionDetector(name, _load_state(network, name, weights))
