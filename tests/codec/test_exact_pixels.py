"""Any machine draws the same pixels: those of `docs/FORMAT.md` section 10.5, to the last bit.

Models of revision 1 draw through products of float matrices, which may differ by rounding.
"""

from __future__ import annotations

import decimal
import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data

from deepsic import weights
from deepsic.bitstream import unpack
from deepsic.codec import Codec
from deepsic.models.quality_tables import base_step_of
from deepsic.models.sic.int8.layer import Conv, Layer
from deepsic.models.sic.int8.planes import Plane
from deepsic.models.sic.wavelet import lifting_cpu
from deepsic.models.tiles import tiling
from tests.reference import pixels
from tests.support.small_model import photograph

FACE = skimage.data.astronaut()[60:160, 170:270]


@functools.cache
def tensors_of(path: Path) -> dict[str, np.ndarray]:
    return weights.read_arrays(path).tensors


def plainly(path: Path, blob: bytes, halvings: int = 0) -> np.ndarray:
    """A file's pixels by the reference; the package reads the containers."""
    file, wide = unpack(blob), bool(weights.read_arrays(path).config.get("wide"))
    return pixels.image(tensors_of(path), wide, file.header, file.tiles, halvings)


@pytest.mark.parametrize("quality", [1, 20, 59, 60, 75, 100])
@pytest.mark.parametrize("tune", ["psnr", "ssim"])
def test_the_shipped_model(tune: str, quality: int) -> None:
    for streams, rgb in ((1, FACE[:64, :96]), (2, FACE[:50, :70])):  # the second is padded
        codec = Codec.load("sic", device="cpu", tune=tune, streams=streams)
        blob = codec.encode(rgb, quality=quality, labels=False)
        assert np.array_equal(codec.decode(blob), plainly(weights.resolve("sic"), blob))


@pytest.mark.parametrize("quality", [1, 20, 75, 100])
@pytest.mark.parametrize("kind", ["revision_two", "serial", "two_tunings"])
def test_small_models(request: pytest.FixtureRequest, kind: str, quality: int) -> None:
    path = request.getfixturevalue(kind)
    codec = Codec.load(path, device="cpu")
    for streams in (1, 2):
        tuned = Codec.load(path, device="cpu", tune=codec.tunings[-1], streams=streams)
        blob = tuned.encode(FACE, quality=quality)
        assert np.array_equal(codec.decode(blob), plainly(path, blob))


@pytest.mark.parametrize("halvings", [0, 1, 2, 3])
def test_tiles_and_smaller_pictures(
    serial: Path, halvings: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = Codec.load(serial, device="cpu", streams=2)
    whole = codec.encode(FACE, quality=75)
    monkeypatch.setattr(tiling, "ONE_TILE", 128)
    monkeypatch.setattr(tiling, "TILE_LOG2", 6)
    cut = codec.encode(photograph(75, 250), quality=75)
    assert len(unpack(cut).tiles) == 8
    for blob in (whole, cut):
        fast = codec.decode(blob, scale=0.5**halvings)
        assert np.array_equal(fast, plainly(serial, blob, halvings))


@pytest.mark.parametrize(("bright", "quality"), [(0, 90), (90000, 12)])
def test_floats_before_they_are_rounded(
    bright: int, quality: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most differences in a last bit don't reach a photograph's pixels: of these latents they do.

    The network sees them as bytes that were nearly rounded the other way. A lowest band that is
    nearly even and very bright has a contrast of few bits.
    """
    tensors = pixels.of_tuning(tensors_of(weights.resolve("sic")), 0)
    plain = pixels.Synthesis(tensors, quality, wide=True)
    rng = np.random.default_rng(0)
    turns = np.arange(-80, 80) + 0.5  # where companded steps are rounded the other way
    turns *= 8 * plain.step / (128 - np.abs(turns))
    y8 = 64 * rng.choice(turns, (24, 24, 189)) / plain.step8
    y16 = rng.normal(0, 64, (12, 12, 12)).round()
    y16[..., :3] = 64 * (bright + rng.integers(-3, 4, (12, 12, 3)))
    state = rng.integers(0, 128, (24, 24, 64))
    seen: list[Any] = []
    inverse, to_stream = lifting_cpu.inverse8, Layer.to_stream

    def with_features(layer: Layer, stream: np.ndarray, *args: Any, **options: Any) -> None:
        to_stream(layer, stream, *args, **options)
        seen.append(stream.copy())

    monkeypatch.setattr(Layer, "to_stream", with_features)
    monkeypatch.setattr(lifting_cpu, "inverse8", lambda c8: seen.append(c8) or inverse(c8))
    latents = np.float32(y8 / 64), np.float32(y16 / 64), np.uint8(state + 128)
    Codec.load("sic", device="cpu").engine.synthesise(latents, quality)
    c8 = plain.coefficients(y16, y8)
    features = plain.features(c8, state)
    for fast, slow in zip(seen, [*features, plain.corrected(c8, features[-1])], strict=True):
        assert slow.dtype == np.float32
        assert np.array_equal(fast, slow)


def test_features_become_bytes() -> None:
    """Those where a last bit decides how they are rounded, in each of the model's units."""
    nothing = Conv.rounded(np.zeros((16, 4, 1, 1)), offset=0)
    layer = Layer.of(nothing, Plane.of(np.zeros((32, 32, 4), np.uint8), border=0))
    for unit in tensors_of(weights.resolve("sic"))["unit.g_s"]:
        halves = np.random.default_rng(0).integers(-9, 300, (32, 32, 16)) + 0.5
        stream = (halves * unit).astype(np.float32)
        seen = Plane.empty(32, 32, 16, border=0)
        layer.to_stream(stream, seen, float(unit), add=True)
        assert np.array_equal(seen.inner, pixels.rectified(stream, unit))


@pytest.mark.parametrize("halvings", [0, 1, 2, 3])
def test_noise(halvings: int) -> None:
    """A million pixels: enough that some lie where a last bit decides how they are rounded."""
    c8 = np.random.default_rng(0).normal(0, 40, (80, 75, 192)).astype(np.float32)
    planes = [pixels.merged_to(c8, colour, halvings) for colour in range(3)]
    assert np.array_equal(np.stack(planes, 2), lifting_cpu.inverse_planes(c8, halvings))
    planes = [pixels.centred(plane, halvings) for plane in planes]
    assert np.array_equal(pixels.to_rgb(planes, halvings), lifting_cpu.inverse8(c8, halvings))


def test_base_steps_are_rounded_correctly_whatever_the_program_rounds_to() -> None:
    base_step_of.cache_clear()
    try:
        for wide in (False, True):
            for quality in range(1, 101):
                with decimal.localcontext(prec=4, rounding=decimal.ROUND_UP):
                    step = base_step_of(quality, wide)
                assert step == pixels.base_step(quality, wide)
    finally:
        base_step_of.cache_clear()
