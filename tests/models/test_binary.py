from __future__ import annotations

import pytest
import torch

from deepsic.errors import UsageError
from deepsic.models.binary import BinaryConfig, BinaryNet, binarise


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
    assert len(net.compress(x[0])) == bpp * 32 * 64 / 8
    with pytest.raises(UsageError):
        BinaryConfig.for_bpp(0.1)


@pytest.mark.parametrize("size", [(32, 64), (33, 7), (1, 1)])
def test_bytes_give_the_picture_that_training_sees(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    net = BinaryNet(BinaryConfig(bits=5, width=8, depth=1)).eval()
    x = torch.rand(3, *size) * 255
    back = net.decompress(net.compress(x), *size)
    assert back.shape == (3, *size)
    padded = torch.nn.functional.pad(x[None], (0, -size[1] % 8, 0, -size[0] % 8), mode="replicate")
    expected = net(padded).x_hat[0, :, : size[0], : size[1]].round().clamp(0, 255).byte()
    assert torch.equal(back, expected)
    with pytest.raises(UsageError, match="bits"):
        net.decompress(b"", *size)


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
