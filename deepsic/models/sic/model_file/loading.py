"""A model file's arrays to what codes with it. On a CPU without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepsic.coding.context_kernels import mean_grid
from deepsic.errors import UnknownModelError, UsageError
from deepsic.models import registry
from deepsic.models.quality import QUALITIES
from deepsic.models.sic.byte_transforms import ByteTransforms
from deepsic.models.sic.config import SicConfig
from deepsic.models.sic.engine import SicEngine, Transforms
from deepsic.models.sic.entropy_model.serial_tables import SERIAL, SerialNets
from deepsic.models.sic.int8.integer_net import IntegerLayer
from deepsic.models.sic.layout import phases_first
from deepsic.models.sic.probability import SHUFFLED, ProbabilityModel
from deepsic.models.sic.tile_coder.tables import EntropyTables
from deepsic.models.sic.wavelet import bands
from deepsic.weights import ModelFile

__all__ = ["SHIFT_TABLE", "UNITS", "unpack"]

UNITS = ("unit.g_a", "unit.g_s")
"""What a model file needs to run in bytes."""
SHIFT_TABLE = "table.shift."
"""First words of the names of biases that follow quality."""
Arrays = Mapping[str, NDArray[Any]]


def unpack(model: ModelFile, device: Any = "cpu") -> SicEngine:
    """What codes with a model on a device.

    Raises:
        UnknownModelError: tensors are missing or of the wrong shape.
    """
    try:
        config = SicConfig.from_file(model.config)
    except (TypeError, UsageError) as error:
        raise UnknownModelError(f"model file is incomplete: {error}") from None
    try:
        return _unpack(model, config, str(device))
    except (KeyError, RuntimeError, TypeError, ValueError, IndexError) as error:
        raise UnknownModelError(f"model file is incomplete: {error}") from None


def _unpack(model: ModelFile, config: SicConfig, device: str) -> SicEngine:
    arrays = model.arrays()
    probabilities = ProbabilityModel(_layers(arrays, config), _entropy_tables(arrays, config))
    if device == "cpu" and all(name in arrays for name in UNITS):
        transforms: Transforms = ByteTransforms(arrays, config)
    else:
        runner = registry.load("deepsic.models.sic.transform_runner:TransformRunner")
        transforms = runner.of(arrays, config, device)
    return SicEngine(transforms, probabilities)


def _layers(arrays: Arrays, config: SicConfig) -> dict[str, IntegerLayer]:
    """The probability nets' convolutions by name."""
    layers = {}
    for name in [n[4:-7] for n in arrays if n.startswith("int.") and n.endswith(".weight")]:
        if name.startswith(SERIAL):
            continue
        parts = {part: arrays.get(f"int.{name}.{part}") for part in ("weight", "bias", "shift")}
        held = {part: value for part, value in parts.items() if value is not None}
        if name in SHUFFLED:
            held = {part: phases_first(value) for part, value in held.items()}
        in_pass = name.startswith("pass")
        layers[name] = IntegerLayer.of(**held, rounded=config.rounded_sums, in_pass=in_pass)
    return layers


def _entropy_tables(arrays: Arrays, config: SicConfig) -> EntropyTables:
    z_classes = arrays["table.z_classes"]
    if config.revision == 1:
        z_classes = np.broadcast_to(z_classes, (QUALITIES, bands.HYPER))
    shifts = [name for name in arrays if name.startswith(SHIFT_TABLE)]
    return EntropyTables(
        start=arrays["table.start"].astype(np.uint16),
        z_classes=z_classes,
        ll_classes=arrays["table.ll_classes"],
        shifts={name.removeprefix(SHIFT_TABLE): arrays[name] for name in shifts},
        zone=arrays["table.zone"],
        serial=SerialNets.of(arrays),
        grid=mean_grid(config.mean_parts),
    )
