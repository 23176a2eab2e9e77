"""Downstream networks: what a decoded image is looked at with.

    net = load_classifier("efficientnet-lite0")       # from its package, offline
    logits = net.logits(x01)                          # Bx3xHxW in [0, 1] -> BxC
    maps = net.features(x01, "_blocks.10")            # BxKxMxN, any layer by name

    detector = load_detector("fastestdet", weights="fastestdet.pth")
    found = detector.detect(x01)                      # [Detection(boxes, scores, labels)]

net = load_observer("open-nsfw")                  # any of OBSERVERS: features if not classes

Networks are frozen: their weights take no gradient, images do.
"""

from __future__ import annotations

from deepsic.errors import UsageError

try:
    import torchvision  # noqa: F401
except ModuleNotFoundError as error:  # the codec by itself does without
    raise UsageError("networks need torchvision; pip install 'deepsic[tasks]'") from error

from deepsic.tasks.classifier import Classifier
from deepsic.tasks.detector import Detection, Detector
from deepsic.tasks.observer import Observer
from deepsic.tasks.registry import (
    CLASSIFIERS,
    DETECTORS,
    OBSERVERS,
    check_classifier,
    load_classifier,
    load_detector,
    load_observer,
)

__all__ = [
    "CLASSIFIERS",
    "DETECTORS",
    "OBSERVERS",
    "Classifier",
    "Detection",
    "Detector",
    "Observer",
    "check_classifier",
    "load_classifier",
    "load_detector",
    "load_observer",
]
