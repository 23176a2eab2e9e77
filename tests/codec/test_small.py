"""Small images through every model that ships: files, labels before rounding and after."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepsic import zoo
from deepsic.cli import commands
from deepsic.codec import Codec
from deepsic.errors import UnknownModelError
from tests.support.small_model import photograph

SIZES = [(1, 1), (1, 16), (2, 3), (8, 8), (16, 1), (16, 16), (17, 15), (31, 33)]


@pytest.fixture(scope="module", params=zoo.names())
def codec(request: pytest.FixtureRequest) -> Codec:
    return Codec.load(request.param, device="cpu")


@pytest.mark.parametrize("size", SIZES)
def test_files_and_labels_of_small_images(codec: Codec, size: tuple[int, int]) -> None:
    rgb = photograph(*size)
    blob = codec.encode(rgb, quality=60)
    back = np.asarray(codec.decode(blob))
    assert back.shape == rgb.shape
    if codec.reader is None:
        with pytest.raises(UnknownModelError, match="no semantic head"):
            codec.read(rgb)
        return
    before, after = codec.read(rgb, quality=60), codec.labels(blob)
    stored = codec.encode(rgb, quality=60, labeler=codec.read)
    assert codec.labels(stored)[0].name == codec.read(rgb)[0].name
    for labels in (before, after):
        assert len(labels) == 5
        assert all(0 <= label.probability <= 1 for label in labels)


def test_a_small_image_does_not_spoil_its_batch(codec: Codec) -> None:
    images = [photograph(64, 80), photograph(3, 2), photograph(64, 80)]
    labeler = None if codec.reader is None else codec.read
    blobs = codec.encode_batch(images, quality=40, labeler=labeler)
    assert blobs[0] == blobs[2]
    assert [image.size for image in codec.decode_batch(blobs)] == [(80, 64), (2, 3), (80, 64)]


@pytest.mark.parametrize("model", [name for name in zoo.names() if not name.endswith("-1")])
def test_the_command_labels_small_images(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, made = tmp_path / "a.png", tmp_path / "a.sic"
    Image.fromarray(photograph(16, 16)).save(source)
    options = ["-o", str(made), "--model", model]
    assert commands.run(["encode", str(source), *options]) == 0
    capsys.readouterr()
    assert commands.run(["labels", str(made), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["labels"]) == 5


@pytest.mark.parametrize("device", ["tpu", "nonsense", "mps"])
@pytest.mark.parametrize("verb", ["encode", "decode", "labels"])
def test_devices_that_there_are_not(
    verb: str, device: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, file = tmp_path / "a.png", tmp_path / "a.sic"
    Image.fromarray(photograph(40, 40)).save(source)
    assert commands.run(["encode", str(source), "-o", str(file), "--no-labels"]) == 0
    given = source if verb == "encode" else file
    out = [] if verb == "labels" else ["-o", str(tmp_path / "out.png")]
    capsys.readouterr()
    assert commands.run([verb, str(given), *out, "--device", device]) == 2
    printed = capsys.readouterr().err
    assert "give cpu, cuda or auto" in printed
    assert "model file" not in printed


def test_cuda_where_there_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    source = tmp_path / "a.png"
    Image.fromarray(photograph(40, 40)).save(source)
    assert commands.run(["encode", str(source), "--device", "cuda"]) == 2
    assert "no CUDA device here: give cpu or auto" in capsys.readouterr().err
