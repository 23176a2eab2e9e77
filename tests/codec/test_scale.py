"""Smaller images out of a part of a file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from deepsic.cli.commands import run
from deepsic.codec import Codec
from deepsic.errors import UsageError
from deepsic.models.sic.engine import SicEngine
from deepsic.models.tiles import tiling
from tests.support.small_model import photograph

SCALES = (1 / 2, 1 / 4, 1 / 8)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("size", [(96, 128), (33, 65), (1, 1), (7, 300)])
def test_sides_are_rounded_up(any_revision: Path, scale: float, size: tuple[int, int]) -> None:
    codec = Codec.load(any_revision, device="cpu")
    small = codec.decode(codec.encode(photograph(*size), quality=40), scale=scale)
    assert small.size == tuple(-(-side * scale // 1) for side in reversed(size))


@pytest.mark.parametrize(("scale", "least"), [(1 / 2, 33.0), (1 / 4, 32.0), (1 / 8, 29.0)])
def test_it_looks_like_the_whole_one_made_smaller(scale: float, least: float) -> None:
    codec = Codec.load("sic", device="cpu")
    original = Image.fromarray(skimage.data.astronaut())
    small = codec.decode(codec.encode(original, quality=50), scale=scale)
    expected = original.resize(small.size, Image.Resampling.LANCZOS)
    assert _psnr(small, expected) > least


@pytest.mark.parametrize("scale", SCALES)
def test_a_smaller_image_lies_where_the_whole_one_does(scale: float) -> None:
    """Mirrored before or after, it is the same: nothing moves to a side."""
    codec = Codec.load("sic", device="cpu")
    original = Image.fromarray(skimage.data.astronaut())
    small = codec.decode(codec.encode(original, quality=90), scale=scale)
    turned = original.transpose(Image.Transpose.ROTATE_180)
    again = codec.decode(codec.encode(turned, quality=90), scale=scale)
    assert _psnr(small, again.transpose(Image.Transpose.ROTATE_180)) > 32


def _psnr(a: Image.Image, b: Image.Image) -> float:
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    return float(10 * np.log10(255**2 / np.square(difference).mean()))


@pytest.mark.parametrize("scale", SCALES)
def test_kind_and_transparency_are_kept(codec: Codec, scale: float) -> None:
    gray = Image.fromarray(photograph(70, 90)).convert("LA")
    gray.putalpha(Image.linear_gradient("L").resize(gray.size))
    small = codec.decode(codec.encode(gray, quality=60), scale=scale)
    assert small.mode == "LA"
    expected = np.asarray(gray.getchannel("A").reduce(round(1 / scale)))
    assert np.array_equal(np.asarray(small.getchannel("A")), expected)


def test_the_start_of_a_stream_is_enough(any_revision: Path) -> None:
    engine = Codec.load(any_revision, device="cpu").engine
    assert isinstance(engine, SicEngine)
    v8, v16, _ = engine.analyse(photograph(192, 256), 80)
    stream = engine.encode(v8, v16, 80)
    for shift, share in ((3, 0.3), (2, 0.6)):
        part = stream[: int(share * len(stream))]
        whole, cut = (engine.decode_scaled(s, 192, 256, 80, shift) for s in (stream, part))
        assert all(np.array_equal(a, b) for a, b in zip(whole, cut, strict=True))


@pytest.mark.parametrize("scale", SCALES)
def test_tiles_and_regions_fit_together(
    any_revision: Path, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = Codec.load(any_revision, device="cpu")
    rgb = photograph(200, 300)
    one = np.asarray(codec.decode(codec.encode(rgb, quality=70), scale=scale)).astype(int)
    monkeypatch.setattr(tiling, "ONE_TILE", 128)
    monkeypatch.setattr(tiling, "TILE_LOG2", 7)
    blob = codec.encode(rgb, quality=70)
    tiled = np.asarray(codec.decode(blob, scale=scale)).astype(int)
    assert np.abs(one - tiled).mean() < 2, "levels of 255"
    part = np.asarray(codec.decode(blob, region=(64, 32, 216, 199), scale=scale))
    left, top, right, bottom = (-(-side * scale // 1) for side in (64, 32, 216, 199))
    assert np.array_equal(part, tiled[int(top) : int(bottom), int(left) : int(right)])


def test_what_cannot_be_done_is_named(codec: Codec) -> None:
    blob = codec.encode(photograph(64, 64))
    for scale in (0, 0.3, 2, float("nan")):
        with pytest.raises(UsageError, match="1/2, 1/4 or 1/8"):
            codec.decode(blob, scale=scale)
    first = Codec.load("deepsic-post", device="cpu")
    with pytest.raises(UsageError, match="no smaller scales"):
        first.decode(first.encode(photograph(64, 64)), scale=1 / 2)


def test_the_command_takes_fractions(tmp_path: Path) -> None:
    Image.fromarray(photograph(60, 80)).save(tmp_path / "a.png")
    assert run(["encode", str(tmp_path / "a.png"), "-o", str(tmp_path / "a.sic"), "--quiet"]) == 0
    small = ["decode", str(tmp_path / "a.sic"), "-o", str(tmp_path / "b.png"), "--quiet"]
    assert run([*small, "--scale", "1/4"]) == 0
    assert Image.open(tmp_path / "b.png").size == (20, 15)
    assert run([*small, "--scale", "0.4"]) == 2


def test_the_command_prints_the_size_that_it_wrote(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.sic").write_bytes(Codec.load("sic").encode(photograph(60, 80)))
    decode = ["decode", str(tmp_path / "a.sic"), "-o", str(tmp_path / "b.png")]
    assert run([*decode, "--scale", "1/4"]) == 0
    assert "20x15" in capsys.readouterr().out
    assert run([*decode, "--force", "--region", "8,4,40,30", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["width"], row["height"]) == Image.open(tmp_path / "b.png").size == (32, 26)
