"""What training reads of prepared images: once a node, held out by file, and named when damaged."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np
import pytest

from deepsic.errors import InputError, UsageError
from deepsic.labels import classes_of
from deepsic.training.data.images import ImageSet
from pipelines.manifest import Manifest
from pipelines.storage import StorageFullError
from pipelines.training.prepared import FROM_DATA, Prepared, read_shard, tag_of
from pipelines.training.sources import open_images
from tests.pipelines.training.made import CLASSES, class_folders, prepared


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("prepared")
    return prepared(class_folders(folder / "photos", side=96), folder / "out")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DEEPSIC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def contents(images: ImageSet) -> list[bytes]:
    return [images.image(index).tobytes() for index in range(len(images))]


@pytest.mark.parametrize(
    ("labels", "dark", "bright"), [("imagenette", 0, 9), (FROM_DATA, 0, 1), (None, -1, -1)]
)
def test_images_have_the_numbers_of_the_label_set(
    version: str, cache: Path, labels: str | None, dark: int, bright: int
) -> None:
    images = Prepared(version, labels=labels, hold_out=4).training()
    assert len(images) > 3
    for index, label in enumerate(images.labels.tolist()):
        assert label == (bright if images.image(index).mean() > 125 else dark)


def test_the_data_s_own_classes_are_a_label_set(version: str, cache: Path) -> None:
    name = Prepared(version, labels=FROM_DATA).labels
    assert name is not None
    assert [node.wnid for node in classes_of(name)] == list(CLASSES)


def test_a_worker_knows_own_classes_by_their_set_s_name(
    version: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = Prepared(version, labels=FROM_DATA).labels
    monkeypatch.setattr("deepsic.labels.custom._known", {})  # another process
    worker = Prepared(version, labels=name)
    assert worker.labels == name
    assert set(worker.training().labels.tolist()) == {0, 1}


def test_classes_that_do_not_match_are_an_error(tmp_path: Path, cache: Path) -> None:
    photos = class_folders(tmp_path / "photos", side=64, each=2)
    (photos / CLASSES[0]).rename(photos / "bolt")
    place = prepared(photos, tmp_path / "out")
    with pytest.raises(UsageError, match=r"1 of 2 classes .*imagenette: bolt"):
        Prepared(place, labels="imagenette")
    flat = prepared(photos / "bolt", tmp_path / "flat")
    with pytest.raises(InputError, match="no classes: put the images into one folder a class"):
        Prepared(flat, labels=FROM_DATA)


def test_images_without_classes_serve_beside_others_or_with_a_teacher(
    tmp_path: Path, cache: Path
) -> None:
    photos = class_folders(tmp_path / "photos", side=64, each=4)
    classed = prepared(photos, tmp_path / "classed")
    flat = prepared(photos / CLASSES[0], tmp_path / "flat")
    with pytest.raises(InputError, match=r"no image of .* has a class"):
        open_images([flat], labels="imagenette", hold_out=4, count=2)
    taught = open_images([flat], labels="imagenette", hold_out=4, count=2, taught=True)
    assert set(taught.training.labels.tolist()) == {-1}
    joined = open_images([flat, classed], labels="imagenette", hold_out=4, count=2)
    assert {-1, 0} < set(joined.training.labels.tolist())


def test_what_validates_is_never_trained_on(version: str, cache: Path) -> None:
    data = Prepared(version, hold_out=4)
    held, trained = set(contents(data.validation(100))), set(contents(data.training()))
    assert held
    assert trained
    assert not held & trained
    assert len(held) + len(trained) == 12


def test_validation_is_spread_over_classes(version: str, cache: Path) -> None:
    data = Prepared(version, labels=FROM_DATA, hold_out=2)
    assert sorted(data.validation(2).labels.tolist()) == [0, 1]
    assert sorted(data.validation(4).labels.tolist()) == [0, 0, 1, 1]


def test_few_files_hold_out_one(tmp_path: Path, cache: Path) -> None:
    place = prepared(class_folders(tmp_path / "two", side=64, each=1), tmp_path / "out")
    data = Prepared(place, hold_out=100)
    assert len(data.training()) == len(data.validation(5)) == 1
    assert contents(data.training()) != contents(data.validation(5))
    single = prepared(tmp_path / "two" / CLASSES[0], tmp_path / "single")
    assert contents(Prepared(single).training()) == contents(Prepared(single).validation(5))


def test_names_that_count_up_are_held_out_like_any_others() -> None:
    held = [tag_of(f"{number:05d}.png") % 16 == 0 for number in range(1600)]
    assert 60 < sum(held) < 140


def test_an_epoch_has_each_image_once_or_by_its_area(version: str, cache: Path) -> None:
    assert set(Prepared(version).training().weights.tolist()) == {1.0}
    by_area = Prepared(version, by_area=True).training().weights
    assert by_area.tolist() == pytest.approx([96 * 96 / 512**2] * len(by_area))


def _count(version: str, cache: str, done: multiprocessing.Queue[int]) -> None:
    done.put(len(Prepared(version, cache=Path(cache)).training()))


def test_workers_of_a_node_share_the_reading(version: str, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    done: multiprocessing.Queue[int] = context.Queue()
    workers = [
        context.Process(target=_count, args=(version, str(tmp_path), done)) for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    counts = {done.get(timeout=60) for _ in workers}
    for worker in workers:
        worker.join()
    assert counts == {len(Prepared(version, cache=tmp_path).training())}
    made = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert made == ["00000.rgb", "00000.rgb.index.npz", "00000.rgb.lock"]


def test_what_was_read_once_is_not_read_again(tmp_path: Path, cache: Path) -> None:
    place = prepared(class_folders(tmp_path / "photos", side=64, each=2), tmp_path / "out")
    first = contents(Prepared(place).training())
    for shard in Manifest.read(place).shards:
        Path(place, shard.key).unlink()
    assert contents(Prepared(place).training()) == first
    mapped = next(cache.rglob("*.rgb"))
    mapped.write_bytes(mapped.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"is gone; run .*preprocess"):
        Prepared(place).training()


def test_a_lost_or_damaged_shard_says_what_to_do(tmp_path: Path, cache: Path) -> None:
    place = prepared(class_folders(tmp_path / "photos", side=64, each=2), tmp_path / "out")
    shard = Manifest.read(place).shards[0]
    path = Path(place, shard.key)
    whole = path.read_bytes()
    path.write_bytes(whole[:-9] + b"?" * 9)
    with pytest.raises(InputError, match=r"damaged; delete it and run .*preprocess"):
        Prepared(place).training()
    assert not list(cache.rglob("*.rgb*part*"))
    path.write_bytes(whole)
    assert read_shard(place, shard).num_rows == shard.pictures
    assert len(Prepared(place).training()) == 3


def test_a_full_disk_names_the_cache(version: str, tmp_path: Path) -> None:
    import resource
    import signal

    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, old[1]))
    try:
        with pytest.raises(StorageFullError, match=r"no space for .*DEEPSIC_CACHE"):
            Prepared(version, cache=tmp_path).training()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert not list(tmp_path.rglob("*.rgb"))
    assert len(Prepared(version, cache=tmp_path).training()) == 11


def test_images_are_views_of_the_file(version: str, cache: Path) -> None:
    images = Prepared(version).training()
    assert not images.image(0).flags.owndata
    assert np.array_equal(images.sizes, [[96, 96]] * len(images))


def test_provenance_names_no_place_of_this_machine(version: str) -> None:
    about = Manifest.read(version).about()
    assert "/tmp" not in str(about)
    assert about["sources"][0]["url"].endswith("photos")
