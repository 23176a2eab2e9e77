"""The data file: it never passes its size, holds both parts, and says what is wrong with it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepsic.errors import InputError, UsageError
from deepsic.labels import class_set
from deepsic.training.data.images import MemoryImages
from deepsic.training.data.packed import PackConfig, Packed, write_packed
from tests.support.small_model import photograph

KIB = 1024
NAMES = ["bolt", "nut", "washer"]


def photographs(count: int, first: int = 0, height: int = 128, width: int = 160) -> MemoryImages:
    images = [np.asarray(photograph(height, width, first + k)) for k in range(count)]
    return MemoryImages(images, [0.5] * count, [k % 3 for k in range(count)])


def pack(path: Path, **changes: Any) -> dict[str, int]:
    config = PackConfig(**{"max_bytes": 60 * KIB, "side": 64} | changes)
    return write_packed(
        path, photographs(6), photographs(4, 100), config, labels=class_set(NAMES),
        about={"manifest": "1a2b"},
    )  # fmt: skip


@pytest.mark.parametrize("size", [30, 200])
def test_it_is_full_and_never_too_large(tmp_path: Path, size: int) -> None:
    made = pack(tmp_path / "data.zip", max_bytes=size * KIB, held_share=0.3)
    held = (tmp_path / "data.zip").stat().st_size
    assert held == made["bytes"] <= size * KIB
    packed = Packed.read(tmp_path / "data.zip")
    assert (len(packed.training), len(packed.validation)) == (made["train"], made["held"])
    # Five crops cover an image; either all are there, or the file is full.
    assert made["train"] == 6 * 5 or held > 0.8 * size * KIB
    assert packed.labels == class_set(NAMES)
    assert packed.about == {"manifest": "1a2b"}
    assert set(packed.training.labels.tolist()) <= {0, 1, 2}
    assert set(packed.training.weights.tolist()) == {0.5}


def test_lossless_crops_are_parts_of_their_images(tmp_path: Path) -> None:
    pack(tmp_path / "data.zip", quality=None, max_bytes=1000 * KIB)
    packed = Packed.read(tmp_path / "data.zip")
    images = photographs(6)
    windows = np.stack(
        [np.lib.stride_tricks.sliding_window_view(images.image(k), (64, 64, 3)) for k in range(6)]
    )[:, :, :, 0]
    corners = windows[..., 0, 0, :]
    assert len(packed.training) == 6 * 5
    for number in range(0, 30, 7):
        crop = packed.training.image(number)
        found = np.argwhere((corners == crop[0, 0]).all(-1))
        assert any(np.array_equal(windows[tuple(place)], crop) for place in found)
    assert np.array_equal(packed.validation.image(0), photographs(1, 100).image(0)[32:96, 48:112])


def test_avif_is_near_the_image_and_much_smaller(tmp_path: Path) -> None:
    lossless = pack(tmp_path / "a.zip", quality=None, max_bytes=1000 * KIB)
    small = pack(tmp_path / "b.zip", max_bytes=1000 * KIB)
    assert lossless["train"] == small["train"]
    assert small["bytes"] < 0.7 * lossless["bytes"]
    a, b = (Packed.read(tmp_path / f"{n}.zip").training for n in "ab")
    worst = max(float(np.mean((a.image(k).astype(float) - b.image(k)) ** 2)) for k in range(len(a)))
    assert 10 * np.log10(255**2 / worst) > 35


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        pack(tmp_path / name, max_bytes=30 * KIB, held_share=0.3, seed=seed)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()


def test_no_room_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no room"):
        pack(tmp_path / "data.zip", max_bytes=2 * KIB)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("part", ["head", "middle", "tail"])
def test_damage_is_named(tmp_path: Path, part: str) -> None:
    path = tmp_path / "data.zip"
    pack(path)
    data = bytearray(path.read_bytes())
    at = {"head": 60, "middle": len(data) // 2, "tail": len(data) - 10}[part]
    data[at : at + 8] = b"\xff" * 8
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"data.zip can't be read .*: copy it anew"):
        Packed.read(path)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="copy it anew"):
        Packed.read(path)
    with pytest.raises(InputError, match=r"train.py pack"):
        Packed.read(tmp_path / "none.zip")


def test_another_format_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr("index.json", '{"format": "deepsic-packed-9"}')
    with pytest.raises(InputError, match=r"deepsic-packed-9 file: pack"):
        Packed.read(tmp_path / "data.zip")


@pytest.mark.parametrize(
    "wrong", [{"side": 50}, {"quality": 0}, {"held_share": 1.0}, {"max_bytes": 0}]
)
def test_settings_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        PackConfig(**wrong)
