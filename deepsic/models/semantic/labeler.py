"""Labelers: callables that look at a PIL image and say what is in it, for storing in files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from PIL import Image

from deepsic.bitstream import Label
from deepsic.errors import UsageError
from deepsic.labels import TOP, label_set

__all__ = ["Labeler", "load_labeler"]

Labeler = Callable[[Image.Image], Sequence[Label]]
"""Any classifier: an upright RGB image to labels, most probable first."""


def load_labeler(spec: str, *, top: int = TOP, weights: str | Path | None = None) -> Labeler:
    """Return a labeler by name.

    Args:
        spec: a classifier of `deepsic.tasks` such as "efficientnet-lite0", or "module:function"
            for a callable of your own that takes a PIL image and returns a list of `Label`.
        top: how many classes a classifier gives, most probable first.
        weights: file with a classifier's weights, where its package has none.

    Raises `UsageError` for a name that isn't known or a package that isn't installed.
    """
    module, _, name = spec.partition(":")
    if name:
        try:
            found = getattr(import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise UsageError(f"labeler {spec}: {error}") from None
        if not callable(found):
            raise UsageError(f"labeler {spec} isn't callable; name a function of a PIL image")
        labeler: Labeler = found
        return labeler
    return _classifier(spec, top, weights)


def _classifier(name: str, top: int, weights: str | Path | None) -> Labeler:
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
