"""Networks over causal neighbours, which code the hyper-latent and the lowest band."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deepsic.codec import Codec
from deepsic.coding.binarisation import SIGN_AT
from deepsic.errors import CorruptFileError, UsageError
from deepsic.models.sic.config import SicConfig
from deepsic.models.sic.entropy_model.serial_fit import fit_serial, is_silent
from deepsic.models.sic.net import SicNet
from deepsic.models.sic.tile_coder.encoder import TileEncoder
from tests.support.small_model import SMALL, photograph, serial, small_net

__all__ = ["serial"]


def test_they_need_the_second_revision() -> None:
    with pytest.raises(UsageError, match="revision to 2"):
        SicConfig(serial=True)


@pytest.mark.parametrize("quality", [10, 90])
def test_training_predicts_what_files_code(serial: Path, quality: int) -> None:
    net = small_net(revision=2, serial=True).requires_grad_(False)
    engine = Codec.load(serial, device="cpu").engine
    v8, v16, _ = engine.analyse(photograph(96, 128), quality)
    z = 6 * engine.transforms.hyper(v8, v16, quality)  # type: ignore[attr-defined]
    tables = engine.probabilities.tables  # type: ignore[attr-defined]
    code = TileEncoder(tables, quality, (v8, v16, z))
    coded = torch.from_numpy(code.hyper().copy()).permute(2, 0, 1)[None].float()
    ll = torch.from_numpy(code.lowest()[1:, 1:-1].copy()).permute(2, 0, 1)[None].float()
    at = torch.tensor([(quality - 1) / 99])
    assert net.context.around is not None
    assert net.context.lowest is not None
    around = net.context.around(coded, at, True)
    lowest = net.context.lowest(ll, at, True)
    z_table = torch.from_numpy(tables.z_classes[quality - 1].astype(int))[:, None, None]
    for marks, (mean, more), table in (
        (code.hyper_marks, around, z_table), (code.lowest_marks, lowest, None)
    ):  # fmt: skip
        index, _, sign, symbol = torch.from_numpy(marks).permute(3, 2, 0, 1).long()
        sixteenths = (16 * mean[0]).long() + 8
        assert len(sixteenths.unique()) > 4, "means that don't vary would prove nothing"
        assert torch.equal((sign - SIGN_AT) % 256 // 16, sixteenths & 15)
        if table is not None:
            assert torch.equal(index, (table + more[0].long()).clamp(3, 63))
            assert torch.equal(coded[0].long(), symbol + (sixteenths >> 4))


def test_what_is_decoded_is_what_was_coded(serial: Path) -> None:
    engine = Codec.load(serial, device="cpu").engine
    for seed, quality in enumerate((1, 40, 100)):
        v8, v16, _ = engine.analyse(photograph(96, 160, seed), quality)
        stream = engine.encode(v8, v16, quality)
        _, y16, _ = engine.decode(stream, 96, 160, quality)
        assert np.array_equal(y16[:, :, :3], np.floor(v16[:, :, :3] + 0.5))


def test_noise_ends_in_latents_or_in_a_named_error(serial: Path) -> None:
    engine = Codec.load(serial, device="cpu").engine
    rng = np.random.default_rng(0)
    for size in (0, 1, 7, 300, 5000):
        try:
            latents = engine.decode(rng.bytes(size), 64, 96, 50)
        except CorruptFileError:
            continue
        assert all(np.isfinite(part).all() for part in latents)


def test_new_networks_are_fitted_and_save_bits() -> None:
    torch.manual_seed(0)
    net = SicNet(SicConfig(width8=16, width16=16, context=16, revision=2, serial=True))
    images = [photograph(256, 256, seed) for seed in range(3)]
    held_out = torch.from_numpy(photograph(256, 256, 9).copy()).permute(2, 0, 1)[None].float()

    def bits() -> float:
        with torch.no_grad():
            parts = net(held_out, torch.tensor([0.3])).parts
        return float(parts["ll"] + parts["z"])

    assert is_silent(net)
    before = bits()
    others = {k: v.clone() for k, v in net.state_dict().items() if ".around" not in k}
    fit_serial(net, images, steps=60)
    assert not is_silent(net)
    assert bits() < 0.95 * before
    for name, value in net.state_dict().items():
        if not name.startswith(("context.lowest.", "context.around.")):
            assert torch.equal(value, others[name]), name


@pytest.mark.parametrize("revision", [1, 2])
def test_a_net_without_them_gives_its_weights(revision: int) -> None:
    old = small_net(revision=revision)
    new = SicNet(replace(SMALL, revision=2, serial=True))
    new.adopt(old)
    assert is_silent(new)
    kept = dict(old.named_parameters())
    assert torch.equal(new.context.pass2a.out.weight, kept["context.pass2a.out.weight"])
    with pytest.raises(RuntimeError, match=r"context\.lowest"):
        SicNet(replace(SMALL, revision=2)).adopt(new)
