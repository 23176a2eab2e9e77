"""Labelers: callables that look at a PIL image and say what is in it, for storing in files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module

from PIL import Image

from deepsic.bitstream import Label
from deepsic.errors import DeepsicError, UsageError
from deepsic.labels import TOP, label_set

__all__ = ["Labeler", "labels_by", "load_labeler"]

_SEEN = 0.3
"""Score from which a detector's object is stored."""
_MOST = 31
"""Objects of an image that a file holds."""
Labeler = Callable[[Image.Image], Sequence[Label]]
"""Any classifier: an upright RGB image to labels, most probable first."""


def labels_by(labeler: Labeler, image: Image.Image) -> Sequence[Label]:
    """What a labeler says of an image. Raises `UsageError` if it fails, whatever it raises."""
    try:
        return labeler(image)
    except DeepsicError:
        raise
    except Exception as error:  # somebody else's code: it must not end a run of many files
        raise UsageError(f"the labeler failed: {error!r}") from error


def load_labeler(spec: str, *, top: int = TOP) -> Labeler:
    """Return a labeler by name.

    Args:
        spec: a classifier or detector of `deepsic.tasks` such as "efficientnet-lite0"; its name and
            a file with its weights, "fastestdet=weights.pth"; or "module:function" for a callable
            of your own that takes a PIL image and returns a list of `Label`.
        top: how many classes a classifier gives, most probable first. A detector gives all objects
            that it is sure enough of, with their boxes.

    Raises:
        UsageError: a name that isn't known, or a package that isn't installed.
        InputError: weights that can't be read.
    """
    known, _, weights = spec.partition("=")
    module, _, name = spec.partition(":")
    if name and not weights:
        try:
            found = getattr(import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise UsageError(f"labeler {spec}: {error}") from None
        if not callable(found):
            raise UsageError(f"labeler {spec} isn't callable; name a function of a PIL image")
        labeler: Labeler = found
        return labeler
    from deepsic.tasks import CLASSIFIERS, DETECTORS

    if known in DETECTORS:
        return _detector(known, weights or None)
    if known not in CLASSIFIERS:
        raise UsageError(
            f"no labeler {known!r}; choose from {', '.join((*CLASSIFIERS, *DETECTORS))}, or give "
            "module:function"
        )
    return _classifier(known, top, weights or None)


def _detector(name: str, weights: str | None) -> Labeler:
    import numpy as np
    import torch

    from deepsic.tasks import load_detector
    from deepsic.tasks.detector import COCO_CLASSES

    net = load_detector(name, weights)
    names = label_set("imagenet1k")
    wnids = [next(iter(sorted(names.find(each))), "") for each in COCO_CLASSES]

    def labeler(image: Image.Image) -> list[Label]:
        pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1) / 255
        (found,) = net.detect([pixels])
        size = torch.tensor([image.width, image.height] * 2)
        boxes, scores, classes = (found[k].cpu() for k in ("boxes", "scores", "labels"))
        return [
            Label(COCO_CLASSES[k], wnids[k], score, (left, top, right, bottom))
            for k, score, (left, top, right, bottom) in zip(
                classes.tolist(), scores.tolist(), (boxes / size).clamp(0, 1).tolist(), strict=True
            )
            if score >= _SEEN
        ][:_MOST]

    return labeler


def _classifier(name: str, top: int, weights: str | None) -> Labeler:
    import numpy as np
    import torch

    from deepsic.tasks import load_classifier

    net = load_classifier(name, weights)
    sets = {len(names.classes()): names for names in map(label_set, ("imagenet1k", "imagenette"))}

    def labeler(image: Image.Image) -> list[Label]:
        pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None] / 255
        with torch.inference_mode():
            probabilities = net.logits(pixels).softmax(1)[0]
        names = sets.get(len(probabilities))
        if names is None:
            raise UsageError(f"{name} has {len(probabilities)} classes, no label set of ours")
        values, indices = probabilities.topk(min(top, len(probabilities)))
        classes = names.classes()
        return [
            Label(classes[i].name, classes[i].wnid, float(p))
            for p, i in zip(values.tolist(), indices.tolist(), strict=True)
        ]

    return labeler
