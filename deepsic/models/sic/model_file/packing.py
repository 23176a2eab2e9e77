"""A trained `SicNet` to a model file's tensors; `loading` is the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepsic.models.integer import ACTIVATION_STEPS, LIMIT, IntegerConv, weight_shift
from deepsic.models.sic.entropy_model.serial import HyperNet
from deepsic.models.sic.entropy_model.serial_tables import CHANNEL
from deepsic.models.sic.model_file import calibration
from deepsic.models.sic.model_file.loading import SHIFT_TABLE, unpack
from deepsic.models.sic.model_file.units import measure_units
from deepsic.models.sic.net import SicNet
from deepsic.models.sic.tile_coder.tables import EntropyTables
from deepsic.models.sic.transform_runner import FLOAT_PARTS
from deepsic.weights import ModelFile


def _integers(net: SicNet) -> dict[str, Tensor]:
    """Weights, biases and shifts of the probability nets, rounded to the grid."""
    tensors = {}
    for name, module in net.context.named_modules():
        if isinstance(module, IntegerConv):
            steps = module.steps().double()
            if module.shifted:
                tensors[f"int.{name}.shift"] = weight_shift(module.weight).to(torch.uint8)
            weight = torch.floor(module.weight.detach() * steps[:, None, None, None] + 0.5)
            tensors[f"int.{name}.weight"] = weight.clamp(-LIMIT, LIMIT).to(torch.int8)
            if module.bias is not None:
                scaled = module.bias.detach().double() * steps * ACTIVATION_STEPS
                tensors[f"int.{name}.bias"] = torch.floor(scaled + 0.5).int()
    if net.context.around is not None:
        tensors[CHANNEL] = _channel_integers(net.context.around)
    return tensors


def _channel_integers(net: HyperNet) -> Tensor:
    """The hyper-latent's biases by channel."""
    steps = net.first.steps().double() * ACTIVATION_STEPS
    return torch.floor(net.channel.detach().double() * steps + 0.5).int()


def _tables(tables: EntropyTables, revision: int) -> dict[str, Tensor]:
    z_classes = torch.from_numpy(tables.z_classes)
    out = {
        "table.start": torch.from_numpy(tables.start.astype(np.int32)),
        "table.z_classes": z_classes[0].clone() if revision == 1 else z_classes,
        "table.ll_classes": torch.from_numpy(tables.ll_classes),
        "table.zone": torch.from_numpy(tables.zone),
    }
    return out | {SHIFT_TABLE + k: torch.from_numpy(v) for k, v in tables.shifts.items()}


def pack(
    net: SicNet,
    pictures: Sequence[NDArray[np.uint8]],
    qualities: Sequence[int] = (1, 20, 35, 50, 65, 80, 100),
    **fields: Any,
) -> ModelFile:
    """Model file of a trained net; its initial probabilities are measured on `pictures`.

    Args:
        net: trained, on the integer grid.
        pictures: (H, W, 3) uint8, sides multiples of 32.
        qualities: at which each picture is coded for the count.
        fields: label_set and provenance of the file.
    """
    revision = net.config.revision
    net.context.set_quantised(True)
    floats = {
        "net." + name: value.detach().to(torch.bfloat16 if value.ndim == 4 else torch.float32)
        for name, value in net.state_dict().items()
        if name.startswith(FLOAT_PARTS)
    }
    tables = calibration.first_tables(net)
    fixed = floats | _integers(net) | measure_units(net, pictures, qualities)
    model = ModelFile(
        preset="sic", config=asdict(net.config), tensors=fixed | _tables(tables, revision), **fields
    )
    engine = unpack(model)
    counts = np.zeros((len(tables.start), 2), np.int64)
    for tuning in range(engine.tunings):
        tuned = engine.tuned(tuning)
        for picture in pictures:
            for quality in qualities:
                calibration.count(tuned, picture, quality, counts)
    tables = calibration.calibrated(tables, counts)
    return replace(model, tensors=fixed | _tables(tables, revision))
