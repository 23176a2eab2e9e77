"""The models that ship: small enough, found by name and identity, able to code a photograph."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pytest
from PIL import Image

import deepsic
from deepsic import weights, zoo
from deepsic.cli.commands import run
from deepsic.codec import Codec

#: Of a codec alone, and of one with a semantic head.
MEGABYTES, WITH_HEAD = 5, 12


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """A photograph of 256x192, from scikit-image."""
    data = pytest.importorskip("skimage.data")
    return Image.fromarray(data.chelsea()[40:232, 100:356])


def test_the_models_for_people_and_for_classifiers_ship() -> None:
    assert {"sic", "sic-machine"} <= set(zoo.names())


@pytest.mark.parametrize("name", zoo.names())
def test_a_shipped_model_is_small_and_says_where_it_comes_from(name: str) -> None:
    path = zoo.path_of(name)
    file = weights.read(path)
    headed = any(tensor.startswith(("head.", "net.semantic.")) for tensor in file.tensors)
    assert path.stat().st_size < (WITH_HEAD if headed else MEGABYTES) * 1_000_000
    assert file.provenance
    assert not re.search(r"(?<![\w.])/\w+/", json.dumps(file.provenance))  # of the trainer's disk
    assert zoo.name_of(zoo.identity_of(path)) == name


@pytest.mark.parametrize("name", zoo.names())
def test_a_shipped_model_codes_to_a_rate_and_back(name: str, photo: Image.Image) -> None:
    codec = Codec.load(name)
    blob = codec.encode(photo, bpp=0.5)
    assert len(blob) * 8 <= 0.5 * photo.width * photo.height
    assert deepsic.info(blob).model_name == name
    error = np.asarray(codec.decode(blob), np.float64) - np.asarray(photo)
    assert 10 * np.log10(255**2 / np.mean(error**2)) > 22


def test_the_command_takes_every_shipped_name(
    photo: Image.Image, tmp_path: object, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    source = f"{tmp_path}/cat.png"
    photo.save(source)
    for name in zoo.names():
        target = f"{tmp_path}/{name}.sic"
        assert run(["encode", source, "-o", target, "--model", name, "--quality", "30"]) == 0
        assert run(["decode", target, "-o", f"{tmp_path}/{name}.png"]) == 0
        with open(f"{tmp_path}/{name}.png", "rb") as file:
            assert Image.open(io.BytesIO(file.read())).size == photo.size
    capsysbinary.readouterr()
