"""Networks that look at decoded images: classifiers and a detector, as the measurements see them.

An evaluator takes images of one size and says what it sees in each. Its network is loaded when it
first looks, once in a process, so an evaluator travels to a worker as a few names.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepsic.errors import DeepsicError

if TYPE_CHECKING:
    from torch import Tensor

    from deepsic.tasks import Classifier, Detector

__all__ = ["ClassifierEvaluator", "DetectorEvaluator", "Evaluator", "find_evaluators"]

_BATCH = 16
_MAX_LOGITS = 64


class Evaluator(ABC):
    """Base: the network's name and weights."""

    def __init__(self, network: str, weights: str | None = None) -> None:
        self.network, self.weights = network, weights
        self.name = network

    @abstractmethod
    def look(self, images: Sequence[NDArray[np.uint8]]) -> list[dict[str, Any]]:
        """What is in each RGB image (height, width, 3); as JSON holds it."""

    def __getstate__(self) -> dict[str, object]:
        """Travel to a worker without the loaded network."""
        return {key: value for key, value in vars(self).items() if key != "loaded"}


class ClassifierEvaluator(Evaluator):
    """Says the five most probable ImageNet classes, as class numbers: `{"top": [...]}`.

    Among few classes it tells their logits too, from which semantic information is estimated.
    """

    def __init__(
        self, network: str, weights: str | None = None, among: Sequence[int] | None = None
    ) -> None:
        """among: choose among these class numbers alone (a ten-way test of a 1000-way network)."""
        super().__init__(network, weights)
        self.among = None if among is None else tuple(among)
        if among is not None:
            self.name = f"{network}, {len(among)}-way"

    @cached_property
    def loaded(self) -> Classifier:
        """The network."""
        from deepsic.tasks import load_classifier

        return load_classifier(self.network, self.weights)

    def look(self, images: Sequence[NDArray[np.uint8]]) -> list[dict[str, Any]]:
        import torch

        seen: list[dict[str, Any]] = []
        for start in range(0, len(images), _BATCH):
            x01_B3HW = _tensor(images[start : start + _BATCH])
            with torch.inference_mode():
                logits_BC = self.loaded.logits(x01_B3HW)
            if self.among is not None:
                logits_BC = logits_BC[:, list(self.among)]
            ranked = logits_BC.topk(min(5, logits_BC.shape[1]), dim=1).indices.tolist()
            made = [{"top": [self._class(index) for index in row]} for row in ranked]
            if self.among is not None and len(self.among) <= _MAX_LOGITS:
                for entry, row in zip(made, logits_BC.tolist(), strict=True):
                    entry["logits"] = [round(value, 4) for value in row]
            seen += made
        return seen

    def _class(self, index: int) -> int:
        return index if self.among is None else self.among[index]


class DetectorEvaluator(Evaluator):
    """Says where objects of COCO's 80 classes are: boxes in pixels, scores, class numbers."""

    @cached_property
    def loaded(self) -> Detector:
        """The network."""
        from deepsic.tasks import load_detector

        return load_detector(self.network, self.weights)

    def look(self, images: Sequence[NDArray[np.uint8]]) -> list[dict[str, Any]]:
        seen = []
        for image in images:
            found = self.loaded.detect(_tensor([image]))[0]
            seen.append(
                {
                    "boxes": [[round(v, 2) for v in box] for box in found["boxes"].tolist()],
                    "scores": [round(v, 4) for v in found["scores"].tolist()],
                    "labels": found["labels"].tolist(),
                }
            )
        return seen


def find_evaluators(evaluators: Sequence[Evaluator]) -> tuple[list[Evaluator], dict[str, str]]:
    """Those of `evaluators` whose networks load here, and name → reason for the others."""
    found, missing = [], {}
    for evaluator in evaluators:
        try:
            evaluator.look([np.zeros((64, 64, 3), np.uint8)])
        except (DeepsicError, OSError) as error:
            missing[evaluator.name] = str(error)
        else:
            found.append(evaluator)
    return found, missing


def _tensor(images: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Images of one size as Bx3xHxW in [0, 1]."""
    import torch

    stacked = np.stack([image.transpose(2, 0, 1) for image in images])
    return torch.from_numpy(stacked).float() / 255
