"""Files of models that ship decode for ever; of revision 2, to the same pixels on every CPU."""

from __future__ import annotations

import hashlib
import json

import pytest

from deepsic import weights
from deepsic.codec import Codec
from tests.codec.test_exact_pixels import plainly
from tests.golden.make_codec import symbols_digest
from tests.golden.make_shipped import FACTS, HERE, pixels_digest

GOLDEN = json.loads(FACTS.read_text())


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_symbols_and_pixels_are_what_they_were(name: str) -> None:
    path = weights.find(bytes.fromhex(name.partition("-")[0]))
    assert path is not None, "the model that wrote it ships no more"
    codec = Codec.load(path, device="cpu")
    blob = (HERE / name).read_bytes()
    assert symbols_digest(codec, blob) == GOLDEN[name]["symbols"]
    if "pixels" in GOLDEN[name]:
        assert pixels_digest(codec, blob) == GOLDEN[name]["pixels"]
        plain = hashlib.sha256(plainly(path, blob).tobytes()).hexdigest()
        assert plain == GOLDEN[name]["pixels"], "what the document says is another picture"
