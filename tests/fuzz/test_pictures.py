"""Damaged images of every kind: loaded, or refused by name, at the price of their pixels."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest

from deepsic.errors import UnsupportedImageError
from deepsic.image_io.load import load_image
from tests.fuzz import kinds
from tests.fuzz.pictures import faults_of

FAST, SLOW = 12, 600


@pytest.mark.filterwarnings("ignore::DeprecationWarning:PIL")
@pytest.mark.parametrize("kind", kinds.known_kinds())
def test_sound_images_of_every_kind(kind: str) -> None:
    if kind == "SPIDER":  # floating point
        with pytest.raises(UnsupportedImageError, match="'F'"):
            load_image(kinds.sound(kind))
        return
    loaded = load_image(kinds.sound(kind))
    assert loaded.rgb.std() > 20
    if kind not in kinds.FIXED:
        assert sorted(loaded.size) == [30, 40]


@pytest.mark.parametrize("kind", kinds.known_kinds())
@pytest.mark.filterwarnings("ignore")
def test_damage_ends_in_named_errors(kind: str) -> None:
    assert faults_of(kind, FAST, encode=False) == []


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[ProcessPoolExecutor]:
    """A process of its own: a decoder that crashes fails tests, and doesn't end them."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        yield pool


@pytest.mark.slow
@pytest.mark.parametrize("kind", kinds.known_kinds())
def test_six_hundred_mutations(kind: str, elsewhere: ProcessPoolExecutor) -> None:
    assert elsewhere.submit(faults_of, kind, SLOW, encode=True).result(timeout=900) == []
