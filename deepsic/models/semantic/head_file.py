"""A semantic head in a model file: `head.*` tensors beside the codec's, its sizes in provenance.

Weights of two and more dimensions are int8 with a float32 scale for each output (`NAME.scale`);
the rest is float32. Nothing here has to be exact: labels don't decide how a file decodes.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from torch import Tensor

from deepsic.errors import UnknownModelError
from deepsic.labels import classes_of
from deepsic.models.int8_weights import from_int8, to_int8
from deepsic.models.semantic.head import SemanticHead
from deepsic.models.semantic.head_config import HeadConfig
from deepsic.models.semantic.reader import PREFIX, head_tensors
from deepsic.weights import ModelFile

__all__ = ["unpack_head", "with_head", "with_labels", "without_head"]


def without_head(model: ModelFile) -> ModelFile:
    """The model file with the codec only."""
    tensors = {k: v for k, v in model.tensors.items() if not k.startswith(PREFIX)}
    provenance = {k: v for k, v in model.provenance.items() if not k.startswith("head")}
    return replace(model, tensors=tensors, label_set=None, provenance=provenance)


def with_head(
    model: ModelFile, head: SemanticHead, labels: str, about: dict[str, object] | None = None
) -> ModelFile:
    """The model file with a head and the name of its label set; the codec in it stays the same.

    Args:
        about: what is to be known of the head's training.

    Raises:
        UnknownModelError: the label set has another number of classes.
    """
    if len(classes_of(labels)) != head.config.classes:
        raise UnknownModelError(f"the head has {head.config.classes} classes, {labels} has not")
    tensors: dict[str, Tensor] = {}
    for name, value in head.state_dict().items():
        if name.endswith("weight") and value.ndim > 1:
            tensors |= to_int8(PREFIX + name, value)
        else:
            tensors[PREFIX + name] = value.detach().float()
    plain = without_head(model)
    provenance = plain.provenance | {"head": asdict(head.config), "head_training": about or {}}
    return replace(plain, tensors=plain.tensors | tensors, label_set=labels, provenance=provenance)


def with_labels(model: ModelFile, net: Any, labels: str, about: dict[str, object]) -> ModelFile:
    """The model file with the head of a `JointNet`. Raises as `with_head`."""
    return with_head(model, net.head, labels, about)


def unpack_head(model: ModelFile) -> SemanticHead | None:
    """The head of a model file, None if it has none.

    Raises:
        UnknownModelError: tensors are missing or of the wrong shape.
    """
    stored = head_tensors(model)
    if not stored:
        return None
    try:
        head = SemanticHead(HeadConfig(**model.provenance["head"]))
        head.load_state_dict(from_int8(stored))
    except (KeyError, RuntimeError, TypeError) as error:
        raise UnknownModelError(f"model file's head is incomplete: {error}") from None
    return head.eval().requires_grad_(False)
