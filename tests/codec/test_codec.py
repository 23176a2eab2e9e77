"""Images to files and back, through the public interface."""

from __future__ import annotations

import copy
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import deepsic
from deepsic import weights
from deepsic.bitstream import Label
from deepsic.codec import Codec
from deepsic.errors import CorruptFileError, DeepsicError, UnknownModelError, UsageError
from deepsic.models.sic.model_file import packing
from deepsic.models.tiles import tiling
from tests.image_io import strange
from tests.support.small_model import photograph, small_net


def psnr(a: object, b: object) -> float:
    error = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    return float(10 * np.log10(65025 / np.mean(error**2)))


def test_quality_trades_size_for_error(codec: Codec) -> None:
    rgb = photograph(128, 160)
    files = [codec.encode(rgb, quality=q) for q in (1, 30, 60, 100)]
    sizes = [len(f) for f in files]
    errors = [psnr(codec.decode(f), rgb) for f in files]
    assert sizes == sorted(sizes)
    assert errors == sorted(errors)
    assert errors[-1] > 36


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (33, 31), (32, 64), (97, 5)])
def test_any_size(codec: Codec, size: tuple[int, int]) -> None:
    rgb = photograph(size[1], size[0])
    image = codec.decode(codec.encode(rgb, quality=80))
    assert image.size == size
    assert psnr(image, rgb) > 25


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK"])
def test_modes(codec: Codec, mode: str) -> None:
    image = Image.fromarray(photograph(64, 80)).convert(mode)
    back = codec.decode(codec.encode(image, quality=90))
    assert back.mode == {"LA": "LA", "RGBA": "RGBA", "L": "L", "1": "L"}.get(mode, "RGB")


def test_alpha_is_lossless(codec: Codec) -> None:
    image = Image.fromarray(photograph(70, 90)).convert("RGBA")
    alpha = np.random.default_rng(0).integers(0, 256, (70, 90)).astype(np.uint8)
    image.putalpha(Image.fromarray(alpha))
    back = codec.decode(codec.encode(image))
    assert np.array_equal(np.asarray(back)[..., 3], alpha)


def test_metadata_comes_back(codec: Codec) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a description"
    buffer = io.BytesIO()
    Image.fromarray(photograph(40, 50)).save(buffer, "JPEG", exif=exif, icc_profile=b"profile" * 9)
    back = codec.decode(codec.encode(buffer.getvalue()))
    assert back.getexif()[0x010E] == "a description"
    assert back.info["icc_profile"] == b"profile" * 9
    bare = codec.decode(codec.encode(buffer.getvalue(), metadata=False))
    assert "icc_profile" not in bare.info


def test_overhead_is_at_most_30_bytes(codec: Codec) -> None:
    blob = codec.encode(photograph(96, 96))
    v8, v16, _ = codec.engine.analyse(photograph(96, 96), 50)
    assert len(blob) - len(codec.engine.encode(v8, v16, 50)) <= 30


@pytest.mark.parametrize("target", [1500, 2500, 5000])
def test_targets_are_met_from_below(codec: Codec, target: int) -> None:
    rgb = photograph(128, 192)
    blob = codec.encode(rgb, max_bytes=target)
    assert 0.97 * target <= len(blob) <= target
    bpp = 8 * target / rgb[..., 0].size
    assert len(codec.encode(rgb, bpp=bpp)) == len(blob)


def test_impossible_targets_say_so(codec: Codec) -> None:
    with pytest.raises(UsageError, match="smallest file"):
        codec.encode(photograph(64, 64), max_bytes=40)
    with pytest.raises(UsageError, match="exclude one another"):
        codec.encode(photograph(64, 64), max_bytes=40, quality=3)


def test_labels_are_stored_and_read_without_a_network(codec: Codec) -> None:
    labels = [Label("English springer", "n02102040", 0.9), Label("tench", "n01440764", 0.1)]
    blob = codec.encode(photograph(64, 64), labels=labels)
    assert [seen.wnid for seen in deepsic.info(blob).labels] == ["n02102040", "n01440764"]
    assert codec.labels(blob, top=1)[0].name == "English springer"
    damaged = blob[:-20] + bytes(20)
    assert codec.labels(damaged)[0].wnid == "n02102040"
    with pytest.raises(CorruptFileError):
        codec.decode(damaged)


def test_another_model_is_an_error(codec: Codec, tmp_path: object) -> None:
    blob = bytearray(codec.encode(photograph(64, 64)))
    from dataclasses import replace

    from deepsic.bitstream import pack, unpack

    container = unpack(bytes(blob))
    other = replace(container, header=replace(container.header, model_id=b"\1" * 8))
    with pytest.raises(UnknownModelError, match="0101010101010101"):
        codec.decode(pack(other))


def test_tiles_have_no_seams(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    rgb = photograph(300, 420, seed=5)
    whole = np.asarray(codec.decode(codec.encode(rgb, quality=40)), np.float64)
    monkeypatch.setattr(tiling, "ONE_TILE", 64)
    monkeypatch.setattr(tiling, "TILE_LOG2", 7)
    blob = codec.encode(rgb, quality=40)
    assert deepsic.info(blob).tiles == 12
    tiled = np.asarray(codec.decode(blob), np.float64)
    assert abs(psnr(tiled, rgb) - psnr(whole, rgb)) < 0.15
    error = np.abs(tiled - rgb).mean(2)
    columns = [x for x in range(420) if x % 128 in (0, 127) and 0 < x < 419]
    rows = [y for y in range(300) if y % 128 in (0, 127) and 0 < y < 299]
    at_borders = np.concatenate((error[:, columns].ravel(), error[rows].ravel())).mean()
    assert at_borders <= 1.1 * error.mean()
    for region in ((100, 90, 300, 200), (0, 0, 1, 1), (419, 299, 420, 300)):
        part = np.asarray(codec.decode(blob, region=region), np.float64)
        left, top, right, bottom = region
        assert np.abs(part - tiled[top:bottom, left:right]).max() <= 1


def test_a_region_outside_is_refused(codec: Codec) -> None:
    with pytest.raises(UsageError, match="inside"):
        codec.decode(codec.encode(photograph(64, 64)), region=(0, 0, 65, 64))


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damage_is_named(codec: Codec, data: st.DataObject) -> None:
    blob = bytearray(_sample(codec))
    bit = data.draw(st.integers(0, 8 * len(blob) - 1))
    blob[bit // 8] ^= 1 << bit % 8
    try:
        image = codec.decode(bytes(blob))
    except DeepsicError:
        return
    # Only bits that the format says are ignored may pass.
    assert image.size == (80, 64)
    assert bit // 8 == 6


def test_truncation_is_named_everywhere(codec: Codec) -> None:
    blob = _sample(codec)
    for length in range(len(blob)):
        with pytest.raises(DeepsicError):
            codec.decode(blob[:length])


_SAMPLES: dict[str, bytes] = {}


def _sample(codec: Codec) -> bytes:
    if codec.name not in _SAMPLES:
        _SAMPLES[codec.name] = codec.encode(photograph(64, 80), quality=20)
    return _SAMPLES[codec.name]


def test_a_codec_is_pickled_and_copied_by_name(codec: Codec) -> None:
    pickled = pickle.dumps(codec)
    assert len(pickled) < 1000
    blob = codec.encode(photograph(40, 50), quality=30)
    for same in (pickle.loads(pickled), copy.copy(codec), copy.deepcopy(codec)):
        assert (same.name, same.identity, same.limits) == (codec.name, codec.identity, codec.limits)
        assert same.encode(photograph(40, 50), quality=30) == blob


def test_a_pickled_codec_never_becomes_another(model_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(model_path.read_bytes())
    pickled = pickle.dumps(Codec.load(path, device="cpu"))
    weights.write(path, packing.pack(small_net(seed=9), [photograph(64, 64)], qualities=(30, 80)))
    with pytest.raises(UnknownModelError, match="mine"):
        pickle.loads(pickled)
    path.unlink()
    with pytest.raises(UnknownModelError, match="no model"):
        pickle.loads(pickled)


def test_batches_are_as_one_by_one(codec: Codec) -> None:
    images = [photograph(40, 50, seed) for seed in range(3)]
    for goal in ({}, {"quality": 20}, {"bpp": 2.0}, {"max_bytes": 700}):
        blobs = codec.encode_batch(images, **goal)  # type: ignore[arg-type]
        assert blobs == [codec.encode(rgb, **goal) for rgb in images]  # type: ignore[arg-type]
    for image, blob in zip(codec.decode_batch(blobs), blobs, strict=True):
        assert np.array_equal(np.asarray(image), np.asarray(codec.decode(blob)))
    with pytest.raises(UsageError, match="exclude one another"):
        codec.encode_batch([], quality=3, bpp=0.5)
    bare = codec.encode_batch([strange.with_metadata()], metadata=False)
    assert "exif" not in codec.decode(bare[0]).info


@pytest.mark.parametrize("value", ["x", 50.5, float("nan"), float("inf")])
def test_numbers_that_are_none(codec: Codec, value: float) -> None:
    for name in ("quality", "max_bytes"):
        with pytest.raises(UsageError, match=name):
            codec.encode(photograph(32, 32), **{name: value})  # type: ignore[arg-type]
    assert deepsic.info(codec.encode(photograph(32, 32), quality=40.0)).quality == 40  # type: ignore[arg-type]
