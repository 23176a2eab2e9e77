"""A quality scale whose ends reach further."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deepsic import weights
from deepsic.codec import Codec
from deepsic.models.quality import base_step, lagrangian, position, shrunk, stretched
from deepsic.models.quality_tables import base_step_of
from deepsic.models.semantic.head_input import position_at
from deepsic.models.sic.model_file import packing
from deepsic.models.sic.net import SicNet
from deepsic.training.objectives.joint import Joint
from deepsic.training.objectives.terms import Step
from tests.support.small_model import photograph, small_net

LAMBDAS = {1: 0.000208, 21: 0.00238, 50: 0.01405, 80: 0.0882, 100: 1.008}


@pytest.fixture(scope="module")
def nets() -> tuple[SicNet, SicNet]:
    """The same weights on the plain scale and on the wide one."""
    plain = small_net(revision=2, serial=True, tunings=2)
    wide = SicNet(replace(plain.config, wide=True))
    wide.adopt(plain)
    wide.set_quantised(True)
    return plain, wide


@pytest.fixture(scope="module")
def wide_model(nets: tuple[SicNet, SicNet], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "wide.safetensors"
    weights.write(path, packing.pack(nets[1], [photograph(96, 128)], qualities=(1, 50, 100)))
    return path


@pytest.mark.parametrize("quality", LAMBDAS)
def test_the_ends_reach_further_and_the_middle_stays(quality: int) -> None:
    for tuning in (0, 1):
        at = torch.tensor([position(float(quality), tuning)])
        weight = float(lagrangian(at, wide=True))
        assert weight == pytest.approx(LAMBDAS[quality], rel=0.01)
        same = weight == pytest.approx(float(lagrangian(at)), rel=1e-5)
        assert same == (21 <= quality <= 80)
        step = float(base_step(at, wide=True))
        assert step == pytest.approx(float(base_step_of(quality, wide=True)), rel=1e-5)


def test_the_scale_is_one_line_with_two_knees() -> None:
    places = np.linspace(0, 1, 101)
    wide = [stretched(float(place)) for place in places]
    assert wide[0] == pytest.approx(-0.2)
    assert wide[-1] == pytest.approx(1.2)
    assert np.all(np.diff(wide) > 0.009)
    assert [shrunk(place) for place in wide] == pytest.approx(list(places))
    assert position_at(0.05, 224, 224, wide=True) == pytest.approx(0.05)
    assert position_at(0.05, 448, 448) > position_at(0.05, 448, 448, wide=True) > 0.05


@pytest.mark.parametrize("tune", ["psnr", "ssim"])
@pytest.mark.parametrize("kind", ["photograph", "noise", "edges"])
def test_files_of_the_ends_decode(wide_model: Path, tune: str, kind: str) -> None:
    codec = Codec.load(wide_model, device="cpu", tune=tune)
    image = photograph(72, 100)
    if kind == "noise":
        image = np.random.default_rng(0).integers(0, 256, image.shape, np.uint8)
    if kind == "edges":
        image = np.where(np.indices((72, 100)).sum(0)[..., None] % 2, 255, 0).astype(np.uint8)
        image = np.repeat(image, 3, 2)
    sizes, errors = [], []
    for quality in (1, 20, 80, 100):
        blob = codec.encode(image, quality=quality)
        decoded = np.asarray(codec.decode(blob)).astype(float)
        sizes.append(len(blob))
        errors.append(np.abs(decoded - image).mean())
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 12, "levels of 255, of an untrained net"


def test_a_model_file_keeps_its_scale(wide_model: Path) -> None:
    from deepsic.models.sic.model_file.trainable import from_model_file

    model = weights.read(wide_model)
    assert model.config["wide"] is True
    assert from_model_file(model).config.wide
    fast = Codec.load(wide_model, device="cpu").engine
    rows = [fast.transforms.steps(quality)[0] for quality in (1, 100)]  # type: ignore[attr-defined]
    assert rows == pytest.approx([339.6, 4.88], rel=0.01)


def test_training_weighs_by_the_net_s_scale(nets: tuple[SicNet, SicNet]) -> None:
    x = torch.from_numpy(photograph(64, 64).copy()).permute(2, 0, 1)[None].float()
    step = Step(x=x, labels=torch.tensor([-1]), number=0, seed=0)
    losses = []
    for net in nets:
        objective = Joint(qualities=(100.0, 100.0)).build("", torch.device("cpu"))
        terms = objective(objective.module(net), step)
        losses.append((float(terms.loss.detach()), {k: float(v) for k, v in terms.parts.items()}))
    (_, plain), (loss, parts) = losses
    assert parts["bpp"] > plain["bpp"]
    weight = float(lagrangian(torch.tensor([1.0]), wide=True))
    scale = (0.0007 * 0.3) ** 0.5 / weight
    whole = scale**0.5 * (parts["bpp"] + weight * parts["total"])
    assert loss == pytest.approx(whole, rel=1e-4)
