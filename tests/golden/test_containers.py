"""Files of format version 1 read as they did on the day they were made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deepsic.bitstream import pack, unpack, verify

from .make import containers, describe

FOLDER = Path(__file__).parent
EXPECTED: dict[str, Any] = json.loads((FOLDER / "containers.json").read_text())


@pytest.mark.parametrize("name", EXPECTED)
def test_golden_file_reads_as_ever(name: str) -> None:
    blob = (FOLDER / name).read_bytes()
    verify(blob)
    assert json.loads(json.dumps(describe(blob))) == EXPECTED[name]


@pytest.mark.parametrize("name", ["plain", "labels", "imagenette", "ancestor", "custom", "tiles"])
def test_writing_them_again_gives_the_same_bytes(name: str) -> None:
    """Not for `rich`: deflate of another zlib may give other bytes that inflate to the same."""
    blob = (FOLDER / f"v1-{name}.sic").read_bytes()
    assert pack(containers()[name]) == blob
    assert pack(unpack(blob)) == blob
