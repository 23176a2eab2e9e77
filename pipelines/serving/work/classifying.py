"""What a classifier sees: labels to store in a file, and the map of what it weighs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from PIL import Image

from deepsic.bitstream.semantics import Label
from deepsic.errors import UsageError
from deepsic.labels import TOP, label_set

if TYPE_CHECKING:
    from deepsic.tasks import Classifier

__all__ = ["ImageReader"]

#: Less probable classes are noise and only cost bytes; the first is always stored.
MIN_PROBABILITY = 0.02
#: Where the classes are told apart in space, for the map that people look at: the last convolution.
#: (The layers that the losses read are earlier and finer, and look like noise to a person.)
LAST_LAYERS = {"efficientnet-lite": "_conv_head"}


class ImageReader:
    """A classifier with names for its classes."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self.name = classifier.name
        self.nodes = label_set("imagenet1k").classes()
        self.layer = LAST_LAYERS.get(classifier.name[:-1], classifier.default_layer)
        # Feature taps hook the network: one image at a time.
        self.lock = threading.Lock()

    @classmethod
    def load(cls, name: str | None) -> ImageReader | None:
        """The classifier called `name`; None for None.

        Raises: `UsageError` for an unknown name, or if its package isn't installed.
        """
        if name is None:
            return None
        from deepsic.tasks import load_classifier

        return cls(load_classifier(name))

    def labels(self, image: Image.Image) -> list[Label]:
        """The most probable classes of an image, at most five."""
        import torch

        with self.lock, torch.inference_mode():
            probabilities = self.classifier.logits(to_tensor(image)).softmax(1)[0]
        values, numbers = probabilities.topk(TOP)
        found = [
            Label(self.nodes[number].name, self.nodes[number].wnid, value)
            for value, number in zip(values.tolist(), numbers.tolist(), strict=True)
        ]
        return found[:1] + [label for label in found[1:] if label.probability >= MIN_PROBABILITY]

    def heat(self, image: Image.Image, wnid: str | None = None) -> tuple[Image.Image, Label]:
        """Where the classifier finds a class: gray, as large as its input, white weighs most.

        The weights of SAIC's Eqs. 2-4: each feature map counts as much as the class's score rises
        with it (Grad-CAM).

        Args:
            image: any size, upright.
            wnid: the class to explain; None: the most probable one.
        """
        import torch
        from torch.nn import functional as F

        x = to_tensor(image).requires_grad_()
        with self.lock, torch.enable_grad():
            logits, (maps,) = self.classifier.observe(x, (self.layer,))
            number = int(logits[0].argmax()) if wnid is None else self._number(wnid)
            (gradient,) = torch.autograd.grad(logits[0, number], maps)
        weights = gradient.mean((2, 3), keepdim=True)
        heat = (weights * maps).sum(1, keepdim=True).relu().detach()
        side = self.classifier.preparation.size
        heat = F.interpolate(heat, (side, side), mode="bicubic", align_corners=False).clamp(min=0)
        heat = (255 * heat / heat.amax().clamp(min=1e-9)).round().to(torch.uint8)
        probability = float(logits.detach().softmax(1)[0, number])
        node = self.nodes[number]
        picture = Image.fromarray(heat[0, 0].cpu().numpy())
        return picture, Label(node.name, node.wnid, probability)

    def _number(self, wnid: str) -> int:
        for number, node in enumerate(self.nodes):
            if node.wnid == wnid:
                return number
        raise UsageError(f"{wnid!r} isn't one of the classifier's classes, such as n02102040")


def to_tensor(image: Image.Image) -> Any:
    """1x3xHxW in [0, 1]; at most 512 pixels a side, because a classifier looks at 224."""
    import numpy as np
    import torch

    rgb = image.convert("RGB")
    rgb.thumbnail((512, 512), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return torch.from_numpy(np.asarray(rgb).copy()).permute(2, 0, 1).unsqueeze(0).float() / 255
