"""A small untrained model, and images that need no data set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deepsic import weights
from deepsic.codec import Codec
from deepsic.models.sic.config import SicConfig
from deepsic.models.sic.model_file import packing
from deepsic.models.sic.net import SicNet

SMALL = SicConfig(width8=16, width16=16, depth=2, context=16)
REVISIONS = ("1", "2", "2 serial")


def photograph(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Something with edges, gradients and texture, (H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    base = 90 + 60 * np.sin(x / 37 + seed) * np.cos(y / 23) + 40 * ((x // 29 + y // 31) % 2)
    colour = np.stack((base, 0.8 * base + 30 * np.sin(y / 50), 220 - base), 2)
    return np.clip(colour + rng.normal(0, 4, colour.shape), 0, 255).astype(np.uint8)


def small_net(seed: int = 0, revision: int = 1, serial: bool = False, tunings: int = 1) -> SicNet:
    """An untrained net whose zero-started layers are stirred, on the integer grid."""
    torch.manual_seed(seed)
    net = SicNet(replace(SMALL, revision=revision, serial=serial, tunings=tunings))
    stirred = (".out", "shift", "in_state", "gain_z", "z_log_scale.table", "channel")
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if any(part in name for part in stirred):
                parameter.add_(0.05 * torch.randn_like(parameter))
    net.context.set_quantised(True)
    return net


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    weights.write(path, packing.pack(small_net(), [photograph(96, 128)], qualities=(30, 80)))
    return path


@pytest.fixture(scope="session")
def revision_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "revision2.safetensors"
    net = small_net(revision=2)
    weights.write(path, packing.pack(net, [photograph(96, 128)], qualities=(30, 80)))
    return path


@pytest.fixture(scope="session")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "serial.safetensors"
    net = small_net(revision=2, serial=True)
    weights.write(path, packing.pack(net, [photograph(96, 128)], qualities=(30, 80)))
    return path


@pytest.fixture(scope="session")
def two_tunings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tuned.safetensors"
    net = small_net(revision=2, serial=True, tunings=2)
    weights.write(path, packing.pack(net, [photograph(96, 128)], qualities=(30, 80)))
    return path


@pytest.fixture(scope="session", params=REVISIONS)
def any_revision(
    request: pytest.FixtureRequest, model_path: Path, revision_two: Path, serial: Path
) -> Path:
    """A small model file of each revision of the net."""
    return dict(zip(REVISIONS, (model_path, revision_two, serial), strict=True))[request.param]


@pytest.fixture(scope="session")
def codec(model_path: Path) -> Codec:
    return Codec.load(model_path, device="cpu")
