"""Model files of the first paper's presets.

net.*   float weights of the stages, the density, the semantic module
bit.*   the bit classifier in whole numbers, parents, groups, first probabilities
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deepsic.entropy import planes
from deepsic.errors import UnknownModelError, UsageError
from deepsic.models.fourstage.bits import BitTables, train_tables
from deepsic.models.fourstage.config import PRESETS, FourStageConfig
from deepsic.models.fourstage.engine import FourStageEngine
from deepsic.models.fourstage.net import FourStageNet
from deepsic.weights import ModelFile

__all__ = ["empty_tables", "pack_four_stage", "unpack_four_stage"]

_BITS = "bit."
_MOST_FILTERS = 256


def empty_tables(net: FourStageNet) -> BitTables:
    """Tables of an untrained classifier, to look at features with."""
    c = net.config.filters
    shapes = {
        "group": (c,), "parents": (c, planes.PARENTS), "bias": (c, planes.HIDDEN),
        "first": (planes.GROUPS, planes.FEATURES, planes.HIDDEN),
        "node": (planes.GROUPS, planes.NODES, planes.HIDDEN),
        "second": (planes.GROUPS, planes.PLANES, planes.HIDDEN),
        "offset": (planes.GROUPS, planes.NODES),
    }  # fmt: skip
    zeros = {name: np.zeros(shape, np.int32) for name, shape in shapes.items()}
    rest = (-net.leave.detach().cpu().numpy()).astype(np.int32)
    return BitTables(rest=rest, start=np.full(planes.CONTEXTS, 32768, np.int32), **zeros)


def pack_four_stage(
    net: FourStageNet,
    pictures: Sequence[NDArray[np.uint8]],
    qualities: Sequence[int] = (15, 30, 45, 60, 75),
    *,
    steps: int = 600,
    **fields_of_file: Any,
) -> ModelFile:
    """Model file of a trained net; its bit classifier is trained here, on `pictures`.

    Args:
        net: trained.
        pictures: (H, W, 3) uint8, sides multiples of 32.
        qualities: at which each picture's features are seen; a net of one rate needs one.
        steps: of the classifier's training.
        fields_of_file: label_set and provenance of the file.

    Raises:
        UsageError: a net that files can't hold, or no picture.
    """
    c = net.config
    if c.bits != planes.PLANES or c.filters > _MOST_FILTERS:
        raise UsageError(f"files hold six bits and at most {_MOST_FILTERS} filters, not {c}")
    engine = FourStageEngine(net, empty_tables(net), torch.device("cpu"))
    chosen = qualities if c.many_rates else qualities[:1]
    sights = [engine.sight(picture, quality) for picture in pictures for quality in chosen]
    tables = train_tables(sights, engine.tables.rest, steps=steps)
    tensors = {f"net.{name}": value.detach() for name, value in net.state_dict().items()}
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
        floats = {k[4:]: v for k, v in model.tensors.items() if k.startswith("net.")}
        net.load_state_dict(floats)
        expected = empty_tables(net)
        found = {f.name: model.tensors[_BITS + f.name].numpy() for f in fields(BitTables)}
        for name, value in found.items():
            if value.shape != getattr(expected, name).shape or value.dtype != np.int32:
                raise KeyError(f"{_BITS}{name} has the wrong shape")
        tables = BitTables(**found)
        channels = net.config.filters
        # Kernels index with these and check nothing.
        inside = (tables.group >= 0).all() and (tables.group < planes.GROUPS).all()
        before = tables.parents < np.arange(channels)[:, None]
        if model.preset not in PRESETS or not inside or not before.all():
            raise KeyError("its tables contradict each other")
    except (KeyError, RuntimeError, TypeError, UsageError) as error:
        raise UnknownModelError(f"model file is incomplete: {error}") from None
    return FourStageEngine(net, tables, device)
