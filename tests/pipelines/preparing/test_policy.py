"""Sources, policies, rows and the versions that follow from them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from deepsic.errors import DeepsicError, InputError, UsageError
from pipelines.preparing.policy import DataSource, Policy, version_of
from pipelines.preparing.rows import images_of


def _png(width: int, height: int, mode: str = "RGB") -> bytes:
    rng = np.random.default_rng(1)
    shape = (height, width, 3) if mode == "RGB" else (height, width)
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, shape, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_source_options() -> None:
    source = DataSource.parse("photos?weight=0.8&scales=0.9,0.6&every=3")
    assert source == DataSource(url="photos", weight=0.8, scales=(0.9, 0.6), every=3)
    assert DataSource.parse("s3://bucket/a") == DataSource(url="s3://bucket/a")


@pytest.mark.parametrize("text", ["a?weight=x", "a?size=3", "a?weight=0", "a?scales=2"])
def test_bad_source_options_are_named(text: str) -> None:
    with pytest.raises(UsageError):
        DataSource.parse(text)


def test_shapes() -> None:
    data = _png(200, 130)
    whole = images_of(data, Policy(side=100), (1.0,))
    assert whole[0][1].shape == (65, 100, 3)
    center = images_of(data, Policy(shape="center", side=64), (1.0,))
    assert center[0][1].shape == (64, 64, 3)
    grid = images_of(data, Policy(shape="grid", side=64), (1.0,))
    assert [p.shape for _, p in grid] == [(64, 64, 3)] * 6


def test_bad_files_raise_by_name() -> None:
    with pytest.raises(InputError):
        images_of(b"no image", Policy(), (1.0,))
    with pytest.raises(InputError):
        images_of(_png(100, 100)[:500], Policy(), (1.0,))
    with pytest.raises(DeepsicError, match="smaller than 64"):
        images_of(_png(40, 40), Policy(), (1.0,))
    with pytest.raises(DeepsicError, match="gray"):
        images_of(_png(100, 100, "L"), Policy(gray=False), (1.0,))


def test_version_follows_settings_and_files() -> None:
    sources = [DataSource(url="a")]
    first = version_of(Policy(), sources, "1")
    assert first == version_of(Policy(), sources, "1")
    assert first != version_of(Policy(side=512), sources, "1")
    assert first != version_of(Policy(), [DataSource(url="a", weight=2)], "1")
    assert first != version_of(Policy(), sources, "2")
