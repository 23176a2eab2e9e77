"""What training reads of prepared pictures, and what it says of damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepsic.errors import InputError
from pipelines.manifest import Manifest
from pipelines.training.pictures import Prepared, class_numbers, is_held_out, read_shard
from tests.pipelines.training.made import class_folders, prepared


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("prepared")
    return prepared(class_folders(folder / "photos", side=96), folder / "out")


def open_prepared(version: str, **changes: object) -> Prepared:
    values = {"rank": 0, "world": 1, "memory_mb": 100, "hold_out": 4, "labels": "imagenette"}
    return Prepared(version, **values | changes)  # type: ignore[arg-type]


def test_classes_get_the_numbers_of_the_label_set(version: str) -> None:
    assert class_numbers(Manifest.read(version), "imagenette") == [0, 9]
    crops, labels = open_prepared(version).sampler(64, seed=0, round_number=0).draw(30)
    for crop, label in zip(crops, labels.tolist(), strict=True):
        assert label == (9 if float(crop.float().mean()) > 125 else 0)
    unlabelled = open_prepared(version, labels=None).sampler(64, seed=0, round_number=0)
    assert set(unlabelled.draw(5)[1].tolist()) == {-1}


def test_what_validates_is_never_trained_on(version: str) -> None:
    pictures = open_prepared(version)
    held = {picture.tobytes() for picture in pictures.validation(100)}
    trained = {p.tobytes() for p in pictures.sampler(64, seed=0, round_number=0).pictures}
    assert held
    assert trained
    assert not held & trained


def test_names_that_count_up_are_held_out_like_any_others() -> None:
    held = [is_held_out(f"{number:05d}.png", 16) for number in range(1600)]
    assert 60 < sum(held) < 140


def test_small_memory_reads_shards_in_turn(version: str) -> None:
    small = open_prepared(version, memory_mb=0)
    rounds = [small.sampler(64, seed=0, round_number=k).pictures for k in range(4)]
    whole = open_prepared(version).sampler(64, seed=0, round_number=0).pictures
    assert all(len(pictures) < len(whole) for pictures in rounds)
    assert len({p.tobytes() for pictures in rounds for p in pictures}) > len(rounds[0])


def test_a_lost_or_damaged_shard_says_what_to_do(version: str, tmp_path: Path) -> None:
    place = prepared(class_folders(tmp_path / "photos", side=64, each=2), tmp_path / "out")
    shard = Manifest.read(place).shards[0]
    path = Path(place, shard.key)
    whole = path.read_bytes()
    path.write_bytes(whole[:-9] + b"?" * 9)
    with pytest.raises(InputError, match=r"damaged; delete it and run .*preprocess"):
        list(read_shard(place, shard))
    path.unlink()
    with pytest.raises(InputError, match=r"is gone; run .*preprocess"):
        list(read_shard(place, shard))
    path.write_bytes(whole)
    assert len(list(read_shard(place, shard))) == shard.pictures


def test_provenance_names_no_place_of_this_machine(version: str) -> None:
    about = Manifest.read(version).about()
    assert "/tmp" not in str(about)
    assert about["sources"][0]["url"].endswith("photos")
