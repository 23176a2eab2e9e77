"""Latents fitted to the networks that will look at an image: files stay ordinary, and serve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from deepsic import weights
from deepsic.bitstream import info, verify
from deepsic.codec import Codec
from deepsic.errors import InputError, LimitError, UnknownModelError, UsageError
from deepsic.losses import DistortionMix, agreement_errors
from deepsic.models.sic.model_file.trainable import from_model_file
from deepsic.models.sic.wavelet import bands
from deepsic.models.tiles import tiling
from deepsic.refiner import Refiner, descent, kept
from deepsic.targets import smallest_loss
from deepsic.tasks import Detection, Detector, load_classifier
from tests.support.small_model import photograph

pytest.importorskip("efficientnet_lite_pytorch", reason="the networks come with deepsic[tasks]")
LITE0 = "efficientnet-lite0"


@pytest.fixture(scope="module")
def refiner(model_path: Path) -> Refiner:
    return Refiner.load(model_path, [LITE0], steps=2, device="cpu")


@pytest.fixture(scope="module")
def photos() -> list[NDArray[np.uint8]]:
    """A cat, a face and a cup, 192x192, from scikit-image."""
    data = pytest.importorskip("skimage.data")
    cuts = (
        data.chelsea()[40:232, 100:292], data.astronaut()[:192, 130:322],
        data.coffee()[60:252, 180:372],
    )  # fmt: skip
    return [np.ascontiguousarray(cut) for cut in cuts]


def divergence(network: str, original: NDArray[np.uint8], decoded: Image.Image) -> float:
    """Of the network's answers, nats."""
    classifier = load_classifier(network)
    views = [torch.tensor(np.asarray(p)).permute(2, 0, 1)[None] / 255 for p in (original, decoded)]
    with torch.inference_mode():
        y, y_hat = (classifier(view) for view in views)
        return float(agreement_errors(y_hat, y))


@pytest.mark.parametrize(
    ("network", "steps", "most"), [(LITE0, None, 0.8), ("efficientnet-lite1", 4, 1.0)]
)
def test_networks_understand_refined_images_better(
    photos: list[NDArray[np.uint8]], network: str, steps: int | None, most: float
) -> None:
    """Taken together: one image alone can go either way. Another of the family need not pay."""
    codec = Codec.load("sic-machine", device="cpu")
    given = {} if steps is None else {"steps": steps}
    refiner = Refiner.load("sic-machine", [network], device="cpu", **given)
    lost = {"plain": 0.0, "refined": 0.0}
    for rgb in photos:
        target = 0.2 * rgb[..., 0].size / 8
        for name, fitted in (("plain", None), ("refined", refiner)):
            blob = codec.encode(rgb, bpp=0.2, refiner=fitted)
            assert 0.97 * target <= len(blob) <= target
            lost[name] += divergence(LITE0, rgb, codec.decode(blob))
    assert lost["refined"] < most * lost["plain"]


@pytest.mark.parametrize("size", [(1, 1), (33, 70), (64, 64)])
def test_any_size(codec: Codec, refiner: Refiner, size: tuple[int, int]) -> None:
    blob = codec.encode(photograph(*size), quality=40, refiner=refiner)
    verify(blob)
    assert codec.decode(blob).size == size[::-1]


def test_alpha_and_gray_stay(codec: Codec, refiner: Refiner) -> None:
    image = Image.fromarray(photograph(40, 50)).convert("LA")
    back = codec.decode(codec.encode(image, refiner=refiner))
    assert back.mode == "LA"
    assert np.array_equal(np.asarray(back)[..., 1], np.asarray(image)[..., 1])


def test_the_same_image_gives_the_same_file(codec: Codec, refiner: Refiner) -> None:
    rgb = photograph(64, 96)
    assert codec.encode(rgb, refiner=refiner) == codec.encode(rgb, refiner=refiner)


def test_a_caller_in_inference_mode_changes_nothing(codec: Codec, refiner: Refiner) -> None:
    rgb = photograph(64, 96)
    with torch.inference_mode():
        inside = codec.encode(rgb, refiner=refiner)
    assert inside == codec.encode(rgb, refiner=refiner)


def test_tiles_come_from_one_refined_image(
    codec: Codec, refiner: Refiner, monkeypatch: pytest.MonkeyPatch
) -> None:
    rgb = photograph(150, 200)
    whole = codec.decode(codec.encode(rgb, quality=60, refiner=refiner))
    monkeypatch.setattr(tiling, "ONE_TILE", 64)
    monkeypatch.setattr(tiling, "TILE_LOG2", 7)
    blob = codec.encode(rgb, quality=60, refiner=refiner)
    assert info(blob).tiles == 4
    difference = np.abs(np.asarray(codec.decode(blob), np.int16) - np.asarray(whole, np.int16))
    assert difference.mean() < 1.0


def test_each_mix_of_distortions_moves_the_latents_its_own_way(model_path: Path) -> None:
    mixes = [DistortionMix.parse(name) for name in ("saic", "apic")]
    rgb = photograph(64, 64)
    found = [
        Refiner.load(model_path, [LITE0], steps=2, mix=mix, device="cpu").latents(rgb, 50)[0]
        for mix in mixes
    ]
    net = from_model_file(weights.read(model_path))
    x = torch.tensor(rgb).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        start, _ = net.analyse(x, torch.tensor([49 / 99]))
    first = (start.y8 / start.step8)[0].permute(1, 2, 0).numpy()
    # The refiner's networks run in bfloat16 where the CPU can, which moves latents far less.
    coded = slice(bands.ALWAYS8)  # level 1 of chroma isn't, at this quality
    moved = [np.median(np.abs(v8 - first)[..., coded]) for v8 in found]
    # SAIC's weights, in float32, leave few maps that count: half of the latents move little.
    assert min(moved) > 0.001, moved
    assert np.abs(found[0] - found[1]).max() > 0.01


def test_descent_that_does_not_help_is_undone(
    codec: Codec, model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(descent, "RATE", 5.0)  # throws the latents far off
    wild = Refiner.load(model_path, [LITE0], steps=2, device="cpu")
    rgb = photograph(64, 64)
    v8, v16 = wild.latents(rgb, 50)
    y8, y16, _ = codec.engine.analyse(rgb, 50)
    # The engine's networks run in 8 or 16 bits, the refiner's in 16.
    assert np.abs(v8 - y8).mean() < 0.05
    assert np.abs(v16 - y16).mean() < 0.05


def test_bad_input(codec: Codec, refiner: Refiner, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no refiner of this model"):
        codec.encode(photograph(32, 32), refiner="efficientnet-lite0")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no refiner of this model"):
        Codec.load("sic", device="cpu").encode(photograph(32, 32), refiner=refiner)
    with pytest.raises(UnknownModelError, match="only preset sic"):
        Refiner.load("deepsic-pre", [LITE0])
    with pytest.raises(UsageError, match="no classifier"):
        Refiner.load("sic", ["efficientnet-lite9"])
    with pytest.raises(UsageError, match="at least one"):
        Refiner.load("sic", [LITE0], steps=0)
    monkeypatch.setattr(kept, "MAX_PIXELS", 1000)
    with pytest.raises(LimitError, match="can't be refined"):
        codec.encode(photograph(32, 64), refiner=refiner)


@pytest.mark.parametrize("target", [300, 500, 1000, 4000, 30_000, 200_000])
@pytest.mark.parametrize("near", [1, 2, 40, 99, 100])
def test_a_search_from_nearby_ends_as_close_as_one_from_afar(target: int, near: int) -> None:
    def encode(quality: int, zone: float) -> bytes:
        return bytes(round(400 * 1.05**quality / zone))

    found = len(smallest_loss(encode, target, near=near))
    assert min(0.985 * target, len(smallest_loss(encode, target))) <= found <= target


def test_a_search_from_nearby_stops_where_it_is_close() -> None:
    asked = []

    def encode(quality: int, zone: float) -> bytes:
        asked.append(quality)
        return bytes(100 * quality)

    assert len(smallest_loss(encode, 3040, near=30)) == 3000
    assert asked == [30]


class Boxes(Detector):
    """Sees edges, and has no classes."""

    default_layer = ""

    def _detect(self, images: list[Tensor]) -> list[Detection]:
        return []

    def observe(
        self, x01: Tensor, layers: Sequence[str], *, leaf: bool = False
    ) -> tuple[Tensor, list[Tensor]]:
        raise AssertionError("a detector's answers are boxes: there is nothing to agree on")

    def features(self, x01: Tensor, layer: str | None = None) -> Tensor:
        return x01[..., 1:] - x01[..., :-1]


def test_of_a_detector_the_maps_alone_are_kept(photos: list[NDArray[np.uint8]]) -> None:
    codec, path = Codec.load("sic-machine", device="cpu"), weights.resolve("sic-machine")
    photo = photos[0]
    net = from_model_file(weights.read(path))
    refiner = Refiner(net, weights.identity_of(path), [Boxes()], steps=6)
    plain, refined = (codec.encode(photo, bpp=0.2, refiner=r) for r in (None, refiner))

    def lost(blob: bytes) -> float:
        a, b = (np.diff(np.asarray(image, float), axis=1) for image in (photo, codec.decode(blob)))
        return float(((a - b) ** 2).mean() / (a**2).mean())

    assert lost(refined) < 0.98 * lost(plain)


def test_a_detector_without_maps_is_refused(model_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.pth"):
        Refiner.load(model_path, ["fastestdet=none.pth"])
    with pytest.raises(UsageError, match="fastestdet"):
        Refiner.load(model_path, ["fastestdet"])
