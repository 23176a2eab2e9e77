"""A semantic head in a model file: `head.*` tensors beside the codec's, `head` in its config."""

from __future__ import annotations

from dataclasses import asdict, replace

import torch
from torch import Tensor

from deepsic.bitstream import Label
from deepsic.errors import UnknownModelError
from deepsic.labels import label_set
from deepsic.models.head import HeadConfig, SemanticHead, head_input
from deepsic.models.layout import F32
from deepsic.models.quality import position
from deepsic.models.transform_runner import TransformRunner
from deepsic.weights import ModelFile

__all__ = ["read_labels", "unpack_head", "with_head"]

_PREFIX = "head.post."


def with_head(model: ModelFile, head: SemanticHead, labels: str) -> ModelFile:
    """The model file with a head and the name of its label set; the codec in it stays the same.

    Raises:
        UnknownModelError: the label set has another number of classes.
    """
    if len(label_set(labels).classes()) != head.config.classes:
        raise UnknownModelError(f"the head has {head.config.classes} classes, {labels} has not")
    tensors = {
        _PREFIX + name: value.detach().to(torch.bfloat16 if value.ndim == 4 else torch.float32)
        for name, value in head.state_dict().items()
    }
    provenance = model.provenance | {"head": asdict(head.config)}
    return replace(model, tensors=model.tensors | tensors, label_set=labels, provenance=provenance)


def unpack_head(model: ModelFile) -> SemanticHead | None:
    """The head of a model file, None if it has none.

    Raises:
        UnknownModelError: tensors are missing or of the wrong shape.
    """
    tensors = {
        k[len(_PREFIX) :]: v.float() for k, v in model.tensors.items() if k.startswith(_PREFIX)
    }
    if not tensors:
        return None
    try:
        head = SemanticHead(HeadConfig(**model.provenance["head"]))
        head.load_state_dict(tensors)
    except (KeyError, RuntimeError, TypeError) as error:
        raise UnknownModelError(f"model file's head is incomplete: {error}") from None
    return head.eval().requires_grad_(False)


@torch.inference_mode()
def read_labels(
    head: SemanticHead, transforms: TransformRunner, v8: F32, v16: F32, quality: int, labels: str
) -> list[Label]:
    """All classes of latents in steps, most probable first.

    Args:
        v8, v16: (H/8, W/8, 189) and (H/16, W/16, 12), decoded (post) or before rounding (pre).
        labels: name of the label set.
    """
    _, step8, step16 = transforms.steps(quality)

    def tensor(latents: F32, step: F32) -> Tensor:
        return torch.from_numpy(latents * step).permute(2, 0, 1)[None]

    place = torch.tensor([float(position(float(quality)))])
    logits = head(head_input(tensor(v8, step8), tensor(v16, step16)), place)
    chances = logits.softmax(1)[0].tolist()
    found = [
        Label(node.name, node.wnid, chance)
        for node, chance in zip(label_set(labels).classes(), chances, strict=True)
    ]
    return sorted(found, key=lambda label: -label.probability)
