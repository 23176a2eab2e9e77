"""One look: latents moved once, by one backward pass of the networks that will look at an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from deepsic import Look, Refiner, weights
from deepsic.codec import Codec
from deepsic.errors import LimitError, UnknownModelError, UsageError
from deepsic.losses import TDIC, DistortionMix
from deepsic.models import registry
from deepsic.models.sic.engine import SicEngine
from deepsic.models.sic.wavelet import bands, lifting_cpu
from deepsic.refiner import kept, load_refiner
from deepsic.tasks import Observer
from tests.codec.test_refiner import LITE0, Boxes, divergence
from tests.support.small_model import photograph

pytest.importorskip("efficientnet_lite_pytorch", reason="the networks come with deepsic[tasks]")


class Edges:
    """Shows differences of neighbours, and answers with nothing that could agree."""

    default_layer = ""
    gain = 1.0

    def to(self, device: object) -> Edges:
        return self

    def observe(
        self, x01: Tensor, layers: Sequence[str], *, leaf: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        return torch.zeros(len(x01), 2), [self.features(x01)]

    def features(self, x01: Tensor, layer: str | None = None) -> Tensor:
        return self.gain * (x01[..., 1:] - x01[..., :-1])


EDGES = DistortionMix(relative=1.0)


def loaded(path: Path, networks: Sequence[Observer]) -> Look:
    engine = Codec.load(path, device="cpu").engine
    assert isinstance(engine, SicEngine)
    return Look(engine, weights.identity_of(path), networks, mix=EDGES)


@pytest.fixture(scope="module")
def photo() -> NDArray[np.uint8]:
    """A cat of 192x192, from scikit-image."""
    data = pytest.importorskip("skimage.data")
    return np.ascontiguousarray(data.chelsea()[40:232, 100:292])


def test_networks_understand_more_of_as_many_bytes(photo: NDArray[np.uint8]) -> None:
    codec = Codec.load("sic-machine", device="cpu")
    look = Look.load("sic-machine", [LITE0], device="cpu")
    plain, looked = (codec.encode(photo, bpp=0.2, refiner=r) for r in (None, look))
    target = 0.2 * photo[..., 0].size / 8
    assert 0.97 * target <= len(looked) <= target
    errors = [np.square(np.asarray(codec.decode(b), float) - photo).mean() for b in (plain, looked)]
    # 3 % or so are the signs and dead zones that fitted latents do without.
    assert errors[1] < 1.09 * errors[0], "people lose little"
    lost = [divergence(LITE0, photo, codec.decode(blob)) for blob in (plain, looked)]
    assert lost[1] < 0.8 * lost[0]


@pytest.mark.parametrize("network", [Edges(), Boxes()], ids=["classifier", "detector"])
def test_what_a_network_sees_moves_towards_the_original(
    network: Observer, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "coder_of", lambda engine, tuning=0, *_, **__: tuning)
    path = weights.resolve("sic")
    codec, look = Codec.load(path, device="cpu"), loaded(path, [network])

    def lost(blob: bytes) -> float:
        a, b = (np.diff(np.asarray(image, float), axis=1) for image in (photo, codec.decode(blob)))
        return float(np.square(a - b).mean())

    # At low rates what fitted latents do without, dead zones of the lowest band, weighs as much.
    plain, looked = (codec.encode(photo, bpp=0.7, refiner=r) for r in (None, look))
    assert lost(looked) < 0.97 * lost(plain)


def test_latents_move_a_little_and_not_where_nothing_is_lost(model_path: Path) -> None:
    rgb, network = photograph(70, 90), Edges()
    look = loaded(model_path, [network])
    before = look.engine.analyse(np.pad(rgb, ((0, 26), (0, 6), (0, 0)), "edge"), 50)[:2]
    moved = [a - b for a, b in zip(look.latents(rgb, 50), before, strict=True)]
    sizes = np.concatenate([np.abs(m).ravel() for m in moved])
    assert 0.001 < sizes.mean() < 0.2
    assert sizes.max() <= 0.5 + 1e-4
    network.gain = 0.0
    for a, b in zip(look.latents(rgb, 50), before, strict=True):
        assert np.array_equal(a, b)


def test_the_wavelet_is_nearly_its_own_adjoint() -> None:
    rng = np.random.default_rng(0)
    products = []
    for _ in range(20):
        planes = rng.normal(size=(3, 64, 96)).astype(np.float32)
        c8 = rng.normal(size=(8, 12, bands.COEFFICIENTS8)).astype(np.float32)
        here = float((lifting_cpu.forward_planes(planes) * c8).sum())
        there = float((lifting_cpu.inverse_planes(c8, 0).transpose(2, 0, 1) * planes).sum())
        products.append((here, there))
    assert np.corrcoef(np.array(products).T)[0, 1] > 0.93


def test_what_is_quantised_is_what_a_decoder_has(any_revision: Path) -> None:
    engine = Codec.load(any_revision, device="cpu").engine
    assert isinstance(engine, SicEngine)
    v8, v16, _ = engine.analyse(photograph(64, 96), 70)
    stream = engine.encode(v8, v16, 70)
    for mine, decoded in zip(
        engine.coded(v8, v16, 70)[1], engine.decode(stream, 64, 96, 70), strict=True
    ):
        assert np.array_equal(mine, decoded)


def test_one_step_is_a_look() -> None:
    assert isinstance(load_refiner("sic", [LITE0], steps=1, device="cpu"), Look)
    assert isinstance(load_refiner("sic", [LITE0], steps=2, device="cpu"), Refiner)


@pytest.mark.parametrize("steps", [0, -1, 1.0, 2.5, True, "1"])
def test_steps_are_a_whole_number_from_one_on(steps: Any) -> None:
    with pytest.raises(UsageError, match="whole number of steps"):
        load_refiner("sic", [LITE0], steps=steps, device="cpu")


@pytest.mark.parametrize("steps", [1, 2])
def test_a_device_and_networks_are_checked_at_either_number_of_steps(steps: int) -> None:
    with pytest.raises(UsageError, match="device 'gpu': give cpu, cuda or auto"):
        load_refiner("sic", [LITE0], steps=steps, device="gpu")
    with pytest.raises(UsageError, match="give a list of networks, not one str"):
        load_refiner("sic", LITE0, steps=steps, device="cpu")


def test_bad_input(model_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look = loaded(model_path, [Edges()])
    with pytest.raises(UsageError, match="no refiner of this model"):
        Codec.load("sic", device="cpu").encode(photograph(32, 32), refiner=look)
    with pytest.raises(UnknownModelError, match="only preset sic"):
        Look.load("deepsic-pre", [LITE0], device="cpu")
    with pytest.raises(UsageError, match="no classifier"):
        Look.load("sic", ["efficientnet-lite9"], device="cpu")
    with pytest.raises(UsageError, match="needs a network"):
        Look.load("sic", [], device="cpu")
    with pytest.raises(UsageError, match="needs a network"):
        Look.load("sic", [LITE0], mix=TDIC, device="cpu")
    monkeypatch.setattr(kept, "MAX_PIXELS", 1000)
    with pytest.raises(LimitError, match="can't be refined"):
        look.latents(photograph(32, 64), 50)
