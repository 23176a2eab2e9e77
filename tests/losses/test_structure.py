"""MS-SSIM with a gradient against the measure of `deepsic.metrics`."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deepsic.losses import structure_errors
from deepsic.metrics.structure import structure


@pytest.mark.parametrize("noise", [3.0, 25.0])
def test_it_is_the_measure(noise: float) -> None:
    rng = np.random.default_rng(0)
    gray = rng.integers(0, 256, (1, 200, 232)).astype(np.float32)
    gray = np.cumsum(gray - 127.5, 2) % 255  # long edges: structure at every scale
    other = np.clip(gray + rng.normal(0, noise, gray.shape), 0, 255).astype(np.float32)
    expected = structure(gray.astype(np.float32), other)[1]
    assert expected is not None
    a, b = (torch.from_numpy(np.repeat(v, 3, 0))[None].float() for v in (other, gray))
    assert float(structure_errors(a, b)) == pytest.approx(
        1 - float(expected[0]), rel=1e-3, abs=2e-5
    )
    assert float(structure_errors(b, b)) == pytest.approx(0, abs=1e-5)


def test_small_crops_take_fewer_scales_and_give_a_gradient() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 64, 48) * 255
    guess = (255 - x).requires_grad_()
    before = structure_errors(guess, x)
    torch.autograd.backward(before.sum())
    assert guess.grad is not None
    assert bool(guess.grad.isfinite().all())
    assert bool((structure_errors(x + 5 * torch.randn_like(x), x) < before).all())
