"""205 classes in ImageNet's layout, with bad files among them: folders, tars and Parquet alike.

What preprocessing makes of them is read as training reads it: classes of the data, a validation
set spread over them, batches, and a data file.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from deepsic.errors import UsageError
from deepsic.labels import classes_of
from deepsic.training.data.batches import Batches
from deepsic.training.data.crops import CropSize
from deepsic.training.data.packed import PackConfig, Packed, write_packed
from pipelines.manifest import MANIFEST
from pipelines.training.prepared import FROM_DATA, Prepared
from tests.pipelines.preparing.test_containers import prepare
from tests.pipelines.preparing.two_hundred import BAD, CLASSES, EACH, layouts, made_files


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return made_files()


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["folders", "tars", "parquet"])
def test_from_files_to_batches(layout: str, files: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    manifest, _ = prepare(layouts(files)[layout], str(tmp_path / "in"), str(out))
    (out / MANIFEST).write_text(manifest.to_json())
    assert manifest.classes == CLASSES
    assert manifest.counts["files"] == len(files)
    assert manifest.counts["quarantined"] == BAD
    assert manifest.class_counts[CLASSES[0]] == EACH + 2
    assert set(manifest.class_counts.values()) == {EACH, EACH + 2}

    data = Prepared(str(out), labels=FROM_DATA, hold_out=4, cache=tmp_path / "cache")
    assert data.labels is not None
    assert [node.wnid for node in classes_of(data.labels)] == CLASSES
    training, validation = data.training(), data.validation(100)
    assert len(training) + len(data.validation(10_000)) == len(files) - BAD
    assert len(set(validation.labels.tolist())) > 90
    thousand = Prepared(str(out), labels="imagenet1k", hold_out=4, cache=tmp_path / "cache")
    assert thousand.training().labels.tolist() == [n + 300 for n in training.labels.tolist()]
    with pytest.raises(UsageError, match=r"202 of 205 classes .* and 197 more; rename"):
        Prepared(str(out), labels="imagenette", cache=tmp_path / "cache")

    batches = Batches(training, [CropSize(side=64, batch=11)], seed=0)
    steps = -(-len(training) // 11)
    seen = [label for _ in range(steps) for label in next(batches).labels.tolist()]
    assert sorted(seen[: len(training)]) == sorted(training.labels.tolist())

    write_packed(
        tmp_path / "data.zip", training, validation, PackConfig(side=64, max_bytes=60_000),
        labels=data.labels, about=manifest.about(),
    )  # fmt: skip
    packed = Packed.read(tmp_path / "data.zip")
    assert packed.labels == data.labels
    assert min(packed.training.labels.tolist()) >= 0
    assert packed.about["manifest"] == manifest.hash
