"""The linear start is a lapped transform, exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepsic.errors import UsageError
from deepsic.models.fourstage.config import FourStageConfig
from deepsic.models.fourstage.net import FourStageNet
from deepsic.models.fourstage.start import lapped_basis, start_linear


def images(count: int) -> list[np.ndarray]:
    """Smooth random images of 64x64."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(count):
        coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, 9, 9)).astype(np.float32))
        fine = torch.nn.functional.interpolate(coarse, (64, 64), mode="bicubic")
        noise = torch.from_numpy(rng.normal(0, 6, (1, 3, 64, 64)).astype(np.float32))
        made.append((fine + noise)[0].permute(1, 2, 0).clamp(0, 255).byte().numpy())
    return made


def test_the_basis_is_orthonormal_also_across_blocks() -> None:
    b = lapped_basis()
    assert np.abs(b.T @ b - np.eye(8)).max() < 1e-12
    assert np.abs(b[8:].T @ b[:8]).max() < 1e-12
    # Malvar's figure for a first-order process of correlation 0.95.
    r = 0.95 ** np.abs(np.subtract.outer(np.arange(16), np.arange(16)))
    variances = np.diag(b.T @ r @ b)
    gain = variances.mean() / np.exp(np.log(variances).mean())
    assert 10 * np.log10(gain) == pytest.approx(9.2, abs=0.05)


def test_untrained_net_gives_the_image_back() -> None:
    torch.manual_seed(0)
    net = FourStageNet(FourStageConfig(filters=192, width=8, dead_zone=0.0))
    some = images(3)
    start_linear(net, some)
    net.eval()
    x = torch.from_numpy(some[0]).permute(2, 0, 1)[None].float()
    position = torch.tensor([0.8])
    with torch.no_grad():
        _, w = net.analyse(x, position)
        n = w.clamp(-32, 31)
        # Unrounded, each channel in its own stretch of the band's range: nothing is lost, but for
        # the bands that found no channel.
        exact = net.synthesise(net.dequantise(n, position), position)
        rounded = net(x, position).x_hat
    step = float(net.steps(position)[1].detach().min()) * 127.5
    assert (exact - x).square().mean() < 8
    # Chroma's levels are wider by 1 / 0.6.
    assert (rounded - exact).square().mean() < step**2 / 12 / 0.6**2


def test_only_for_the_strides_it_was_made_for() -> None:
    with pytest.raises(UsageError):
        start_linear(FourStageNet(FourStageConfig(strides=(4, 2, 2, 1), width=8)), images(1))
    with pytest.raises(UsageError):
        start_linear(FourStageNet(FourStageConfig(filters=64, width=8)), images(1))
