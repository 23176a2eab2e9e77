"""The head's own training: stops on time, goes on, and leaves a file that gives labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepsic.bitstream import read_semantics
from deepsic.codec import Codec
from deepsic.errors import InputError, UnknownModelError, UsageError
from deepsic.models.semantic.head import HeadConfig
from deepsic.training.head import HeadTrainingConfig
from pipelines.training.head import HeadJob, train_head
from tests.codec.conftest import model_path as model_path
from tests.pipelines.training.made import CLASSES, class_folders, prepared

HEAD = HeadConfig(width=8, stem=8, blocks=((3, 2, 8),), expand=2, hidden=16)


def job(model: Path, data: str, folder: Path, **changes: object) -> HeadJob:
    values: dict[str, object] = {
        "model": model, "data": data, "out": folder / "out.safetensors", "folder": folder / "work",
        "teacher": None, "views": 1, "hold_out": 4, "qualities": (40, 60),
        "config": HeadTrainingConfig(
            head=HEAD, hint_steps=0, steps=40, batch=8, warmup=2, learning_rate=1e-2, ema=0.8
        ),
    }  # fmt: skip
    return HeadJob(**values | changes)  # type: ignore[arg-type]


def test_from_pictures_to_labels_without_pixels(model_path: Path, tmp_path: Path) -> None:
    photos = class_folders(tmp_path / "photos")
    data = prepared(photos, tmp_path / "prepared")
    assert train_head(job(model_path, data, tmp_path, seconds=0.0)) is None
    found = train_head(job(model_path, data, tmp_path))
    assert found == {"val/top1_pre": 1.0, "val/top1_post": 1.0}
    codec = Codec.load(tmp_path / "out.safetensors", device="cpu")
    for wnid, light in zip(CLASSES, (60, 190), strict=True):
        for side in (224, 500):
            rng = np.random.default_rng(1)
            noise = rng.normal(light, 15, (side, side, 3))
            image = Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8))
            assert codec.read(image, top=1)[0].wnid == wnid
            blob = codec.encode(image, quality=50)
            assert codec.labels(blob, top=2)[0].wnid == wnid
            stored = read_semantics(codec.encode(image, quality=50, labeler=codec.read))
            assert stored is not None
            assert stored.labels[0].wnid == wnid
    before = Codec.load(model_path, device="cpu")
    with pytest.raises(UnknownModelError, match="no semantic head"):
        before.read(image)
    # The codec is the same: only the model's name in the header differs.
    assert before.encode(image, quality=50)[-100:] == blob[-100:]


def test_what_makes_no_sense_is_named(model_path: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    Image.new("RGB", (224, 224)).save(flat / "a.png")
    data = prepared(flat, tmp_path / "prepared")
    with pytest.raises(InputError, match="without a class"):
        train_head(job(model_path, data, tmp_path))
    with pytest.raises(UsageError, match="no head"):
        train_head(job(model_path, prepared(class_folders(tmp_path / "p"), tmp_path / "q"),
                       tmp_path, start=model_path))  # fmt: skip
    with pytest.raises(UsageError, match="qualities"):
        job(model_path, data, tmp_path, qualities=(9, 3))
