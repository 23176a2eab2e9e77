"""Hostile files of every preset: an image or a named error, at the price of their pixels."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch

from deepsic import weights, zoo
from deepsic.bitstream import Container, Header, info, pack
from deepsic.codec import Codec
from deepsic.errors import CorruptFileError
from deepsic.models import registry
from deepsic.models.saic.engine import pack_binary
from deepsic.models.saic.net import BinaryConfig, BinaryNet
from deepsic.models.tiles import tiling
from tests.fuzz.damage import measured
from tests.fuzz.sic_files import SECONDS, faults_of
from tests.support.small_model import photograph

FAST, SLOW = 20, 600


@pytest.fixture(scope="module", params=list(registry.PRESETS))
def codec(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Codec:
    """A codec of each preset: the one that ships, or a small untrained one."""
    if request.param in zoo.names():
        return Codec.load(request.param, device="cpu")
    assert request.param == "saic", "a new preset: make a small model of it here"
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "saic.safetensors"
    weights.write(path, pack_binary(BinaryNet(BinaryConfig(bits=5, width=8, depth=1))))
    return Codec.load(path, device="cpu")


@pytest.mark.filterwarnings("ignore")
def test_hostile_files_end_in_named_errors(codec: Codec) -> None:
    assert faults_of(codec, FAST, largest=200) == []


def test_many_small_tiles_cost_little(codec: Codec) -> None:
    side = tiling.SMALL
    header = Header(width=side, height=side, quality=50, model_id=codec.identity, tile_log2=6)
    blob = pack(Container(header=header, tiles=(b"",) * header.tile_count))

    def meet() -> None:
        with contextlib.suppress(CorruptFileError):
            assert codec.decode(blob).size == (side, side)

    meet()
    assert measured(meet).seconds < SECONDS


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_six_hundred_hostile_files(codec: Codec) -> None:
    assert faults_of(codec, SLOW, largest=tiling.ONE_TILE) == []


@pytest.mark.slow
def test_a_claim_costs_what_as_large_an_image_does(codec: Codec) -> None:
    """However short its stream is: the coder's has no least length (FORMAT.md, section 10.1)."""
    side = tiling.ONE_TILE
    sound = codec.encode(photograph(side, side), quality=50)
    codec.decode(sound)
    usual = measured(lambda: codec.decode(sound))
    header = Header(
        width=side, height=side, quality=50, model_id=codec.identity, coder=info(sound).coder
    )
    dice = np.random.default_rng(0)
    for length in (0, 10, 1000, 100_000):
        blob = pack(Container(header=header, tiles=(dice.bytes(length),)))

        def meet(blob: bytes = blob) -> None:
            with contextlib.suppress(CorruptFileError):
                assert codec.decode(blob).size == (side, side)

        cost = measured(meet)
        assert cost.seconds < 1.5 * usual.seconds + 0.3
        assert cost.bytes < 1.5 * usual.bytes + (64 << 20)
