"""Files written by format version 1 decode for ever, to the same symbols and the same image."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from deepsic.codec import Codec
from tests.golden.make_codec import HERE, symbols_digest

FACTS = json.loads((HERE / "files.json").read_text())


@pytest.fixture(scope="module")
def golden_codec() -> Codec:
    return Codec.load(HERE / "small.safetensors", device="cpu")


@pytest.mark.parametrize("name", sorted(FACTS))
def test_golden_file(golden_codec: Codec, name: str) -> None:
    blob = (HERE / f"{name}.sic").read_bytes()
    assert len(blob) == FACTS[name]["bytes"]
    assert symbols_digest(golden_codec, blob) == FACTS[name]["symbols"]
    image = np.asarray(golden_codec.decode(blob), np.int16)
    expected = np.asarray(Image.open(HERE / f"{name}.png"), np.int16)
    # Transforms may run in bfloat16 or float32: symbols are exact, pixels only nearly.
    difference = np.abs(image - expected)
    assert difference.mean() < 0.5
    assert difference.max() <= 12
