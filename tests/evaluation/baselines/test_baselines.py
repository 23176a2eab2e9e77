"""Every codec codes a photograph to a wanted size and back; search and bad input."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
from PIL import Image

from deepsic.errors import InputError, UsageError
from deepsic.evaluation.baselines import (
    BASELINES,
    EncodedFile,
    MeasuredCodec,
    Memory,
    find_codecs,
    search_bpp,
)
from deepsic.evaluation.baselines.base import encode_timed
from deepsic.evaluation.baselines.compressai import CompressAI
from deepsic.evaluation.baselines.modern import Avif
from deepsic.evaluation.metrics.distortion import compare
from deepsic.evaluation.metrics.rate import bits_per_pixel


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """A photograph of 192x160, from scikit-image."""
    data = pytest.importorskip("skimage.data")
    return Image.fromarray(data.chelsea()[60:220, 120:312])


def baseline(name: str) -> MeasuredCodec:
    coders, missing = find_codecs([name])
    if missing:
        pytest.skip(f"{name}: {missing[name]}")
    return coders[0]


@pytest.mark.parametrize("name", BASELINES)
def test_a_rival_hits_a_rate_and_decodes_its_file(name: str, photo: Image.Image) -> None:
    coder = baseline(name)
    hit = search_bpp(coder, photo, 1.0)
    assert hit.within(0.03), f"{hit.off:+.3f}"
    assert hit.bpp == pytest.approx(bits_per_pixel(len(hit.blob), *photo.size))
    decoded = coder.decode(hit.blob)
    assert decoded.mode == "RGB"
    assert compare(np.asarray(photo), np.asarray(decoded)).psnr_rgb > 24


@pytest.mark.parametrize("name", BASELINES)
def test_the_ladder_rises(name: str, photo: Image.Image) -> None:
    coder = baseline(name)
    sizes = [len(coder.encode(photo, knob)) for knob in coder.ladder[::3]]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize("quality", [1, 7, 50, 80, 95])
def test_our_jpeg_tables_are_libjpegs_at_whole_qualities(quality: int, photo: Image.Image) -> None:
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=quality, subsampling="4:2:0", optimize=True)
    assert baseline("jpeg").encode(photo, quality) == buffer.getvalue()


def test_jpeg2000_has_its_colour_transform_on(photo: Image.Image) -> None:
    coder = baseline("jpeg2000")
    blob = coder.encode(photo, 1.0)
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG2000", quality_mode="rates", quality_layers=[24], irreversible=True)
    plain = coder.decode(buffer.getvalue())
    ours = compare(np.asarray(photo), np.asarray(coder.decode(blob))).psnr_rgb
    assert ours > compare(np.asarray(photo), np.asarray(plain)).psnr_rgb + 1


def test_avif_quarter_steps_lie_between_whole_ones(photo: Image.Image) -> None:
    coder = baseline("avif")
    assert isinstance(coder, Avif)
    lower, between, upper = (len(coder.encode(photo, knob)) for knob in (24.0, 24.5, 25.0))
    assert lower < between < upper


class Steps(MeasuredCodec):
    """Makes files of known sizes; counts encodings."""

    name = title = settings = "steps"
    low, high, ladder = 0.0, 100.0, (10.0, 50.0)

    def __init__(self, step: float = 0.01, floor: int = 10) -> None:
        self.step, self.floor, self.calls = step, floor, 0

    def encode(self, image: Image.Image, knob: float) -> bytes:
        self.calls += 1
        whole = round(knob / self.step) * self.step
        return bytes(max(self.floor, round(20 * 2 ** (whole / 12))))

    def decode(self, blob: bytes) -> Image.Image:
        return Image.new("RGB", (64, 64))


IMAGE = Image.new("RGB", (64, 64))


@pytest.mark.parametrize("bpp", [0.1, 0.5, 2.0, 8.0])
def test_search_needs_few_tries(bpp: float) -> None:
    coder = Steps()
    assert search_bpp(coder, IMAGE, bpp).within(0.02)
    assert coder.calls <= 8


def test_search_starts_from_what_is_known() -> None:
    coder = Steps()
    known: dict[float, EncodedFile] = {}
    search_bpp(coder, IMAGE, 0.5, known=known)
    calls = coder.calls
    search_bpp(coder, IMAGE, 0.5, known=known)
    assert coder.calls == calls


def test_search_is_shorter_after_like_images() -> None:
    coder, memory = Steps(), Memory()
    for bpp in (0.5, 2.0):
        search_bpp(coder, IMAGE, bpp, memory=memory)
    coder.calls = 0
    for bpp in (0.5, 2.0):
        assert search_bpp(coder, IMAGE, bpp, memory=memory).within(0.02)
    assert coder.calls == 2


def test_a_memory_that_is_wrong_only_costs_tries() -> None:
    coder, memory = Steps(), Memory()
    memory.learn(coder, 0.5, [(99.0, -0.1), (99.5, 0.1)])
    assert search_bpp(coder, IMAGE, 0.5, memory=memory).within(0.02)
    assert coder.calls <= 10


def test_a_rate_below_the_smallest_file_gives_the_smallest_file() -> None:
    hit = search_bpp(Steps(floor=400), IMAGE, 0.1)
    assert len(hit.blob) == 400
    assert hit.off == pytest.approx(400 * 8 / 64**2 / 0.1 - 1)
    assert not hit.within(0.02)


def test_a_rate_above_the_largest_file_gives_the_largest_file() -> None:
    hit = search_bpp(Steps(), IMAGE, 24.0)
    assert hit.knob == 100.0
    assert hit.off < -0.02


def test_coarse_steps_give_the_nearest_file() -> None:
    coder = Steps(step=12.0)  # an octave a step
    hit = search_bpp(coder, IMAGE, 0.09)
    sizes = [20 * 2**k for k in range(9)]
    goal = 0.09 * 64**2 / 8
    assert len(hit.blob) == min(sizes, key=lambda size: abs(np.log(size / goal)))


def test_a_codec_that_refuses_is_named() -> None:
    class Refuses(Steps):
        name = "refuses"

        def encode(self, image: Image.Image, knob: float) -> bytes:
            raise OSError("too large for me")

    with pytest.raises(InputError, match="refuses can't encode 64x64: too large for me"):
        encode_timed(Refuses(), IMAGE, 1.0)
    with pytest.raises(InputError):
        search_bpp(Refuses(), IMAGE, 0.5)


@pytest.mark.parametrize("bpp", [0.0, -1.0])
def test_a_rate_must_be_positive(bpp: float) -> None:
    with pytest.raises(UsageError):
        search_bpp(Steps(), IMAGE, bpp)


def test_our_codec_refined_meets_a_rate_by_itself(photo: Image.Image) -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    coder = baseline("sic-machine@efficientnet-lite0")
    assert coder.name == "sic-machine@efficientnet-lite0"
    assert coder.identity() != baseline("sic-machine").identity()
    hit = search_bpp(coder, photo, 0.5)
    assert hit.within(0.02)
    assert hit.knob is None
    assert hit.blob != search_bpp(baseline("sic-machine"), photo, 0.5).blob
    travelled = pickle.loads(pickle.dumps(coder))
    assert travelled.decode(hit.blob).size == photo.size
    assert not search_bpp(coder, photo, 0.01).within(0.02)
    for name in ("sic-machine@lite0", "sic@efficientnet-lite0+", "sic-machine@"):
        with pytest.raises(UsageError, match="no classifier"):
            find_codecs([name])


def test_what_is_missing_is_named_not_fatal() -> None:
    coders, missing = find_codecs(
        [
            "jpeg",
            "sic:/nowhere/me@home/model.safetensors",
            "compressai:mbt2018=/nowhere/mbt.pth.tar",
        ]
    )
    assert [coder.name for coder in coders] == ["jpeg"]
    path = "/nowhere/me@home/model.safetensors"
    assert path in missing[f"sic:{path}"]
    assert "/nowhere/mbt.pth.tar" in missing["compressai:mbt2018=/nowhere/mbt.pth.tar"]


def test_a_name_without_meaning_is_refused() -> None:
    with pytest.raises(UsageError, match="no codec 'jpg'"):
        find_codecs(["jpg"])
    with pytest.raises(UsageError, match="needs a checkpoint"):
        CompressAI.parse("mbt2018")
