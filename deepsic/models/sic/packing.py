"""A trained `SicNet` to a model file's tensors, and back to what inference needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepsic.coding.context_kernels import mean_grid
from deepsic.errors import UnknownModelError, UsageError
from deepsic.models.integer import ACTIVATION_STEPS, LIMIT, IntegerConv, weight_shift
from deepsic.models.quality import QUALITIES
from deepsic.models.sic import calibration
from deepsic.models.sic.engine import SicEngine
from deepsic.models.sic.entropy_model.context import HYPER
from deepsic.models.sic.entropy_model.serial_tables import SERIAL, SerialNets, channel_integers
from deepsic.models.sic.int8 import byte_conv
from deepsic.models.sic.int8.byte_trunk import measure_units
from deepsic.models.sic.int8.integer_net import IntegerLayer
from deepsic.models.sic.layout import phases_first
from deepsic.models.sic.net import SicConfig, SicNet
from deepsic.models.sic.probability import SHUFFLED, EntropyTables, ProbabilityModel
from deepsic.models.sic.transform_runner import TransformRunner
from deepsic.weights import ModelFile

UNITS = ("unit.g_a", "unit.g_s")
_FLOAT_PARTS = ("g_a.", "g_s.", "h_a.", "gain8.", "gain16.", "gain_z.")
_SHIFT_TABLE = "table.shift."


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
        tensors |= channel_integers(net.context.around)
    return tensors


def _tables(tables: EntropyTables, revision: int) -> dict[str, Tensor]:
    z_classes = torch.from_numpy(tables.z_classes)
    out = {
        "table.start": torch.from_numpy(tables.start.astype(np.int32)),
        "table.z_classes": z_classes[0].clone() if revision == 1 else z_classes,
        "table.ll_classes": torch.from_numpy(tables.ll_classes),
        "table.zone": torch.from_numpy(tables.zone),
    }
    return out | {_SHIFT_TABLE + k: torch.from_numpy(v) for k, v in tables.shifts.items()}


def pack(
    net: SicNet,
    pictures: Sequence[NDArray[np.uint8]],
    qualities: Sequence[int] = (5, 20, 35, 50, 65, 80, 95),
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
        if name.startswith(_FLOAT_PARTS)
    }
    tables = calibration.first_tables(net)
    fixed = floats | _integers(net) | measure_units(net, pictures, qualities)
    model = ModelFile(
        preset="sic", config=asdict(net.config), tensors=fixed | _tables(tables, revision), **fields
    )
    engine = _unpack(model, torch.device("cpu"))
    counts = np.zeros((len(tables.start), 2), np.int64)
    for tuning in range(engine.tunings):
        tuned = engine.tuned(tuning)
        for picture in pictures:
            for quality in qualities:
                tuned.count(picture, quality, counts)
    tables = calibration.calibrated(tables, counts)
    return replace(model, tensors=fixed | _tables(tables, revision))


def unpack(model: ModelFile, device: torch.device) -> SicEngine:
    """What codes with a model.

    Raises:
        UnknownModelError: tensors are missing or of the wrong shape.
    """
    try:
        return _unpack(model, device)
    except (KeyError, RuntimeError, TypeError, UsageError) as error:
        raise UnknownModelError(f"model file is incomplete: {error}") from None


def _unpack(model: ModelFile, device: torch.device) -> SicEngine:
    t = model.tensors
    net = SicNet(SicConfig.from_file(model.config))
    floats = {k[4:]: v.float() for k, v in t.items() if k.startswith("net.")}
    missing, unexpected = net.load_state_dict(floats, strict=False)
    lost = [name for name in missing if name.startswith(_FLOAT_PARTS)]
    if lost or unexpected:
        raise KeyError(f"{lost or unexpected}")
    fast = byte_conv.available()
    layers = {}
    for name in [n[4:-7] for n in t if n.startswith("int.") and n.endswith(".weight")]:
        if name.startswith(SERIAL):
            continue
        parts = {part: t.get(f"int.{name}.{part}") for part in ("weight", "bias", "shift")}
        held = {part: value for part, value in parts.items() if value is not None}
        if name in SHUFFLED:
            held = {part: phases_first(value) for part, value in held.items()}
        layers[name] = IntegerLayer.of(**held, rounded=net.config.rounded_sums, fast=fast)
    shifts = [name for name in t if name.startswith(_SHIFT_TABLE)]
    z_classes = t["table.z_classes"].numpy()
    if net.config.revision == 1:
        z_classes = np.broadcast_to(z_classes, (QUALITIES, HYPER))
    tables = EntropyTables(
        start=t["table.start"].numpy().astype(np.uint16),
        z_classes=z_classes,
        ll_classes=t["table.ll_classes"].numpy(),
        shifts={name.removeprefix(_SHIFT_TABLE): t[name].numpy() for name in shifts},
        zone=t["table.zone"].numpy(),
        serial=SerialNets.of(t),
        grid=mean_grid(net.config.mean_parts),
    )
    units = {name: t[name] for name in UNITS if name in t}
    in_bytes = fast and device.type == "cpu" and len(units) == len(UNITS)
    runner = TransformRunner(net, device, units if in_bytes else None)
    return SicEngine(runner, ProbabilityModel(layers, tables))
