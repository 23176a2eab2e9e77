"""Model files of the first paper's presets.

net.*   weights of the stages, the density, the semantic module: float16 in stages that sub-sample,
        whose rounding pixels would show; int8 with a scale for each row (`NAME.scale`) in other
        convolutions and layers; float32 in the rest
bit.*   the bit classifier in whole numbers, parents, groups, first probabilities
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepsic.coding import bit_planes
from deepsic.errors import UnknownModelError, UsageError
from deepsic.models.fourstage.bits import BitTables, train_tables
from deepsic.models.fourstage.config import PRESETS, FourStageConfig
from deepsic.models.fourstage.engine import FourStageEngine
from deepsic.models.fourstage.net import FourStageNet
from deepsic.models.fourstage.semantic import SemanticModule
from deepsic.models.int8_weights import from_int8, to_int8
from deepsic.models.quality import position
from deepsic.weights import ModelFile

__all__ = [
    "empty_tables", "pack_four_stage", "restore", "unpack_four_stage", "with_labels",
    "with_semantics",
]  # fmt: skip

_NET, _BITS = "net.", "bit."
_SEMANTIC = "net.semantic."
_MOST_FILTERS = 256


def empty_tables(net: FourStageNet) -> BitTables:
    """Tables of an untrained classifier, to look at features with."""
    c = net.config.filters
    shapes = {
        "group": (c,), "parents": (c, bit_planes.PARENTS), "bias": (c, bit_planes.HIDDEN),
        "first": (bit_planes.GROUPS, bit_planes.FEATURES, bit_planes.HIDDEN),
        "node": (bit_planes.GROUPS, bit_planes.NODES, bit_planes.HIDDEN),
        "second": (bit_planes.GROUPS, bit_planes.PLANES, bit_planes.HIDDEN),
        "offset": (bit_planes.GROUPS, bit_planes.NODES),
    }  # fmt: skip
    zeros = {name: np.zeros(shape, np.int32) for name, shape in shapes.items()}
    rest = (-net.leave.detach().cpu().numpy()).astype(np.int32)
    return BitTables(rest=rest, start=np.full(bit_planes.CONTEXTS, 32768, np.int32), **zeros)


def pack_four_stage(
    net: FourStageNet,
    images: Sequence[NDArray[np.uint8]],
    qualities: Sequence[int] = (15, 30, 45, 60, 75),
    *,
    steps: int = 600,
    **fields_of_file: Any,
) -> ModelFile:
    """Model file of a trained net; its bit classifier is trained here, on `pictures`.

    Args:
        net: trained.
        images: (H, W, 3) uint8, sides multiples of 32.
        qualities: at which each image's features are seen; a net of one rate needs one.
        steps: of the classifier's training.
        fields_of_file: label_set and provenance of the file.

    Raises:
        UsageError: a net that files can't hold, or no image.
    """
    c = net.config
    if c.bits != bit_planes.PLANES or c.filters > _MOST_FILTERS:
        raise UsageError(f"files hold six bits and at most {_MOST_FILTERS} filters, not {c}")
    chosen = qualities if c.many_rates else qualities[:1]
    tensors = _stored(net)
    # What a file holds is rounded: its classifier has to see that net's features.
    held = FourStageNet(c)
    held.load_state_dict(_floats(tensors))
    if isinstance(held.semantic, SemanticModule) and not held.semantic.measured:
        _measure_level(held, held.semantic.level, images, chosen)
        tensors |= _stored(held)
    engine = FourStageEngine(held, empty_tables(held), torch.device("cpu"))
    sights = [engine.sight(image, quality) for image in images for quality in chosen]
    tables = train_tables(sights, engine.tables.rest, steps=steps)
    for field in fields(tables):
        tensors[_BITS + field.name] = torch.from_numpy(getattr(tables, field.name))
    return ModelFile(preset=c.preset, config=asdict(c), tensors=tensors, **fields_of_file)


def unpack_four_stage(model: ModelFile, device: torch.device) -> FourStageEngine:
    """What codes with a model.

    Raises:
        UnknownModelError: tensors are missing or of the wrong shape.
    """
    try:
        net = FourStageNet(FourStageConfig(**model.config))
        net.load_state_dict(_floats(model.tensors))
        expected = empty_tables(net)
        found = {f.name: model.tensors[_BITS + f.name].numpy() for f in fields(BitTables)}
        for name, value in found.items():
            if value.shape != getattr(expected, name).shape or value.dtype != np.int32:
                raise KeyError(f"{_BITS}{name} has the wrong shape")
        tables = BitTables(**found)
        channels = net.config.filters
        # Kernels index with these and check nothing.
        inside = (tables.group >= 0).all() and (tables.group < bit_planes.GROUPS).all()
        before = tables.parents < np.arange(channels)[:, None]
        if model.preset not in PRESETS or not inside or not before.all():
            raise KeyError("its tables contradict each other")
    except (KeyError, RuntimeError, TypeError, UsageError) as error:
        raise UnknownModelError(f"model file is incomplete: {error}") from None
    return FourStageEngine(net, tables, device)


def with_semantics(
    model: ModelFile, module: nn.Module, labels: str, about: dict[str, object] | None = None
) -> ModelFile:
    """The model file with another semantic module; the codec in it stays the same.

    Args:
        about: what is to be known of the module's training.
    """
    tensors = {k: v for k, v in model.tensors.items() if not k.startswith(_SEMANTIC)}
    for name, value in module.state_dict().items():
        tensors |= _packed(_SEMANTIC + name, value)
    provenance = model.provenance | {"head_training": about or {}}
    return replace(model, tensors=tensors, label_set=labels, provenance=provenance)


def restore(model: ModelFile) -> FourStageNet:
    """A net to train on. Raises as `unpack_four_stage`."""
    return unpack_four_stage(model, torch.device("cpu")).net.requires_grad_(True)


def with_labels(
    model: ModelFile, net: FourStageNet, labels: str, about: dict[str, object]
) -> ModelFile:
    """The model file with the semantic module of `net`."""
    sizes = {name: getattr(net.config, name) for name in ("classes", "module")}
    changed = replace(model, config=model.config | sizes)
    return with_semantics(changed, net.semantic, labels, about)


def _stored(net: FourStageNet) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name, value in net.state_dict().items():
        tensors |= _packed(_NET + name, value)
    return tensors


def _packed(name: str, value: Tensor) -> dict[str, Tensor]:
    """A tensor as a file holds it; of the stages, 1 and 2 are those that may sub-sample most."""
    value = value.detach().contiguous()
    if not name.endswith("weight") or value.ndim < 2:
        return {name: value}
    if name.startswith(
        (
            _NET + "extraction.stages.0.",
            _NET + "extraction.stages.1.",
            _NET + "reconstruction.stages.0.",
            _NET + "reconstruction.stages.1.",
        )
    ):
        return {name: value.half()}
    return to_int8(name, value)


def _floats(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    stored = {k[len(_NET) :]: v for k, v in tensors.items() if k.startswith(_NET)}
    return from_int8(stored)


@torch.no_grad()
def _measure_level(
    net: FourStageNet, level: nn.BatchNorm2d, images: Sequence[NDArray[np.uint8]],
    qualities: Sequence[int],
) -> None:  # fmt: skip
    """Scale of what an untrained semantic module sees, as images have it."""
    net.eval()
    level.momentum = None  # the mean over all that is seen
    level.train()
    for image in images:
        x = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
        for quality in qualities:
            at = torch.tensor([position(float(quality))])
            level(net.shared(net.analyse(x, at)[1], at))
    level.eval()
