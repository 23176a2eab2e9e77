"""PSNR, SSIM and MS-SSIM against torchmetrics and known values."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure as reference_ms_ssim,
)
from torchmetrics.functional.image import structural_similarity_index_measure as reference_ssim

from deepsic.errors import UsageError
from deepsic.evaluation.metrics.distortion import IDENTICAL_DB, compare, luma
from deepsic.evaluation.metrics.structure import MS_SSIM_MIN_SIDE


def image(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth shapes with some noise: structure on several scales."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (7 + 9 * k) + k) * np.cos(y / (11 + 5 * k)) for k in range(3)]
    plain = 128 + 90 * np.stack(waves, axis=2) + random.normal(0, 4, (height, width, 3))
    return np.clip(plain, 0, 255).astype(np.uint8)


def damaged(original: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, sigma, original.shape)
    return np.clip(original + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("size", "sigma"), [((176, 190), 2.0), ((193, 177), 25.0)])
def test_structure_is_what_torchmetrics_says(size: tuple[int, int], sigma: float) -> None:
    a = image(*size)
    b = damaged(a, sigma)
    planes = [
        torch.tensor(np.concatenate([x, luma(x)[..., None]], 2)).permute(2, 0, 1)[:, None].double()
        for x in (b, a)
    ]
    _, whole = reference_ssim(*planes, data_range=255.0, reduction="none", return_full_image=True)
    # It mirrors the borders; the standard, and we, leave them out.
    ssim = whole[..., 5:-5, 5:-5].mean((1, 2, 3))
    ms_ssim = reference_ms_ssim(*planes, data_range=255.0, reduction="none")
    found = compare(a, b)
    assert found.ssim == pytest.approx(float(ssim[:3].mean()), abs=1e-5)
    # On its smallest scale the mirrored border is most of the image.
    assert found.ms_ssim_rgb == pytest.approx(float(ms_ssim[:3].mean()), abs=3e-3)
    assert found.ms_ssim_y == pytest.approx(float(ms_ssim[3]), abs=3e-3)


def test_ms_ssim_is_what_pytorch_msssim_says() -> None:
    module = pytest.importorskip("pytorch_msssim", reason="pip install pytorch-msssim")
    a = image(176, 192)  # even on every scale: it pads odd ones
    b = damaged(a, 12.0)
    x, y = (torch.tensor(p).permute(2, 0, 1)[None].float() for p in (b, a))
    assert compare(a, b).ms_ssim_rgb == pytest.approx(
        float(module.ms_ssim(x, y, data_range=255.0)), abs=2e-5
    )


def test_psnr_of_a_known_difference() -> None:
    a = np.full((32, 32, 3), 100, np.uint8)
    b = a + np.array([10, 0, 0], np.uint8)
    found = compare(a, b)
    assert found.mse == pytest.approx(100 / 3)
    assert found.psnr_rgb == pytest.approx(10 * np.log10(255**2 * 3 / 100))
    assert found.psnr_y == pytest.approx(20 * np.log10(255 / 2.99))


def test_equal_images_have_a_finite_psnr() -> None:
    a = image(40, 50)
    found = compare(a, a)
    assert found.psnr_rgb == found.psnr_y == IDENTICAL_DB
    assert found.ssim == pytest.approx(1.0)


def test_small_images_have_no_ms_ssim() -> None:
    a = image(MS_SSIM_MIN_SIDE - 1, 400)
    found = compare(a, damaged(a, 5))
    assert found.ms_ssim_rgb is None
    assert found.ms_ssim_y is None
    assert found.ssim is not None
    assert compare(a[:1, :1], a[:1, :1]).ssim is None


@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        (np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8), "differ in size"),
        (np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8), "original"),
        (np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.float32), "decoded"),
    ],
)
def test_bad_input_is_named(a: np.ndarray, b: np.ndarray, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        compare(a, b)
