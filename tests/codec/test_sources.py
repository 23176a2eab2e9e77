"""What users have in hand: taken, or refused with what to give instead."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import deepsic
from deepsic.codec import Codec
from deepsic.errors import InputError, UsageError
from tests.support.small_model import photograph

RGB = photograph(40, 56)


@pytest.fixture(scope="module")
def blob(codec: Codec) -> bytes:
    return codec.encode(RGB)


def test_files_of_every_kind_are_read_alike(codec: Codec, tmp_path: Path) -> None:
    path, blob = tmp_path / "x.sic", codec.encode(RGB, labels=[])
    path.write_bytes(blob)
    expected = codec.decode(blob).tobytes()
    with path.open("rb") as file:
        for source in (str(path), path, bytearray(blob), memoryview(blob), io.BytesIO(blob), file):
            assert codec.decode(source).tobytes() == expected
            assert deepsic.info(source).bytes_total == len(blob)
            assert codec.labels(source) == []


@pytest.mark.parametrize("source", [None, 0, 7, 1.5, ["x.sic"]])
def test_what_is_no_file_is_refused(codec: Codec, source: Any) -> None:
    for read in (codec.decode, codec.labels, deepsic.info):
        with pytest.raises(UsageError, match="give its bytes, its path"):
            read(source)


@pytest.mark.parametrize("path", ["\0", "", "missing.sic", "x" * 300])
def test_paths_that_cannot_be_read(codec: Codec, path: str) -> None:
    for read in (codec.decode, codec.labels, deepsic.info):
        with pytest.raises(InputError):
            read(path)


def test_a_buffer_that_was_just_written_is_read_from_its_beginning(codec: Codec) -> None:
    written = io.BytesIO()
    Image.fromarray(RGB).save(written, "PNG")
    assert codec.encode(written) == codec.encode(RGB)


@pytest.mark.parametrize("labels", [None, 5, "dog", ["dog"], [("dog", 0.5)]])
def test_labels_that_are_none(codec: Codec, labels: Any) -> None:
    with pytest.raises(UsageError, match=r"deepsic\.Label"):
        codec.encode(RGB, labels=labels)
    with pytest.raises(UsageError, match=r"deepsic\.Label"):
        codec.encode(RGB, labeler=lambda image: labels)


def test_a_labeler_that_fails_has_a_name(codec: Codec) -> None:
    def fail(image: Image.Image) -> Any:
        raise ZeroDivisionError("by zero")

    with pytest.raises(UsageError, match="the labeler failed: ZeroDivisionError") as caught:
        codec.encode(RGB, labeler=fail)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize(
    "options", [{"bpp": "0.5"}, {"bpp": [1]}, {"quality": "much"}, {"quality": 50.5}]
)
def test_goals_that_are_no_numbers(codec: Codec, options: Any) -> None:
    with pytest.raises(UsageError):
        codec.encode(RGB, **options)


@pytest.mark.parametrize("region", [(0, 0, 9.0, 9), "abcd", (1, 2, 3), 5, (), (0, 0, 0, 0)])
def test_regions_that_are_none(codec: Codec, blob: bytes, region: Any) -> None:
    with pytest.raises(UsageError, match="left, top, right, bottom inside 56x40"):
        codec.decode(blob, region=region)


def test_regions_of_numpy(codec: Codec, blob: bytes) -> None:
    region: Any = np.array([0, 0, 9, 9])
    assert codec.decode(blob, region=region).size == (9, 9)


def test_batches_are_several(codec: Codec, blob: bytes) -> None:
    four: Any = np.stack([RGB] * 2)
    assert codec.encode_batch(image for image in (RGB, RGB)) == [blob, blob]
    assert codec.encode_batch(four) == [blob, blob]
    assert codec.encode_batch(torch.from_numpy(four).permute(0, 3, 1, 2)) == [blob, blob]
    assert len(codec.decode_batch(iter([blob]))) == 1
    one: Any
    for one in ("x.png", Path("x.png"), b"x", Image.fromarray(RGB), RGB, RGB[..., 0], io.BytesIO()):
        with pytest.raises(UsageError, match="give a list of images"):
            codec.encode_batch(one)
    for one in ("x.sic", blob, None):
        with pytest.raises(UsageError, match=r"give a list of \.sic files"):
            codec.decode_batch(one)


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_arrays_and_tensors_that_hold_no_image(codec: Codec) -> None:
    matrix: Any = np.matrix(RGB[..., 0])
    assert codec.encode(matrix) == codec.encode(RGB[..., 0])
    for tensor in (torch.eye(8).to_sparse(), torch.zeros(3, 8, 8, device="meta")):
        with pytest.raises(UsageError, match="tensor"):
            codec.encode(tensor)


@pytest.mark.parametrize("model", [None, 5, b"sic"])
def test_models_that_are_no_names(model: Any) -> None:
    with pytest.raises(UsageError, match="a shipped name or a file's path"):
        Codec.load(model)


def test_devices_that_are_no_names() -> None:
    device: Any = None
    with pytest.raises(UsageError, match="cpu, cuda or auto"):
        Codec.load("sic", device=device)
