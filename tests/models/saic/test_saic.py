from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from deepsic import weights
from deepsic.codec import Codec
from deepsic.errors import CorruptFileError, UnknownModelError, UsageError
from deepsic.models.saic.engine import pack_binary, unpack_binary
from deepsic.models.saic.net import BinaryConfig, BinaryNet, binarise


def test_equation_7_and_its_gradient() -> None:
    e = torch.tensor([0.1, 0.5, 0.500001, 0.9], requires_grad=True)
    q = binarise(e)
    assert q.tolist() == [0, 0, 1, 1]
    torch.autograd.backward((q * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum())
    assert e.grad is not None
    assert e.grad.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("bpp", [0.125, 0.25, 0.5])
def test_rate_is_the_size_of_q(bpp: float) -> None:
    config = BinaryConfig.for_bpp(bpp)
    assert config.bpp == bpp
    net = BinaryNet(BinaryConfig(bits=config.bits, width=8, depth=1))
    x = torch.rand(2, 3, 32, 64) * 255
    assert net(x).bits.tolist() == [bpp * 32 * 64] * 2
    with pytest.raises(UsageError):
        BinaryConfig.for_bpp(0.1)


def test_it_learns() -> None:
    torch.manual_seed(0)
    net = BinaryNet(BinaryConfig(bits=8, width=16, depth=1))
    x = torch.linspace(0, 255, 32).expand(4, 3, 32, 32).clone()
    x[1], x[2] = 255 - x[0], x[0].transpose(1, 2)
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    first = last = 0.0
    for _ in range(60):
        loss = (net(x).x_hat - x).square().mean()
        first, last = first or loss.item(), loss.item()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
    assert last < first / 4


def test_streams_give_the_image_that_training_sees() -> None:
    torch.manual_seed(0)
    net = BinaryNet(BinaryConfig(bits=5, width=8, depth=1))
    engine = unpack_binary(pack_binary(net), torch.device("cpu"))
    rgb = np.random.default_rng(0).integers(0, 256, (32, 64, 3), np.uint8)
    v8, v16, _ = engine.analyse(rgb, 50)
    stream = engine.encode(v8, v16, 50)
    assert len(stream) == 5 * 4 * 8 / 8
    back8, back16 = engine.decode(stream, 32, 64, 50)
    assert np.array_equal(back8, v8)
    assert back16.shape == v16.shape == (2, 4, 0)
    x = torch.from_numpy(rgb).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        expected = net(x).x_hat[0].permute(1, 2, 0).round().clamp(0, 255).byte()
    assert np.array_equal(engine.synthesise((back8, back16), 50), expected.numpy())
    with pytest.raises(CorruptFileError):
        engine.decode(stream[:-1], 32, 64, 50)


@pytest.mark.parametrize("size", [(70, 50), (1100, 1700)])
def test_files_of_the_preset(tmp_path: Path, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    net = BinaryNet(BinaryConfig(bits=8, width=8, depth=1))
    weights.write(tmp_path / "saic.safetensors", pack_binary(net))
    codec = Codec.load(tmp_path / "saic.safetensors", device="cpu")
    rgb = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    blob = codec.encode(rgb, quality=50)
    area = (-(-size[0] // 32) * 32) * (-(-size[1] // 32) * 32)
    assert len(blob) == pytest.approx(area * 0.125 / 8, abs=60)
    assert codec.decode(blob).size == size[::-1]


def test_a_model_has_one_identity(tmp_path: Path) -> None:
    model = pack_binary(BinaryNet(BinaryConfig(bits=8, width=8, depth=1)))
    path = tmp_path / "saic.safetensors"
    assert len({weights.write(path, model) for _ in range(8)}) == 1
    assert weights.read(path).config == model.config


def test_an_incomplete_file_is_named() -> None:
    model = pack_binary(BinaryNet(BinaryConfig(bits=8, width=8, depth=1)))
    del model.tensors["net.encoder.1.weight"]
    with pytest.raises(UnknownModelError):
        unpack_binary(model, torch.device("cpu"))
