"""Shards: bad files are quarantined, good ones read by plain pyarrow, S3 is as good as a folder."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from deepsic.errors import InputError, StorageError
from pipelines.preparing.files import find_files, samples_of
from pipelines.preparing.policy import DataSource, Policy
from pipelines.preparing.samples import Sample
from pipelines.preparing.shards import ShardJob, make_shards, shard_key
from pipelines.storage import open_storage
from tests.support.small_model import photograph


def png(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def bad_and_good() -> dict[str, bytes]:
    """Files as they are found in the wild, by class folder and name."""
    photo = Image.fromarray(photograph(80, 100))
    good = png(photo)
    return {
        "cat/good.png": good,
        "cat/gray.png": png(photo.convert("L")),
        "cat/cmyk.jpg": png(photo.convert("CMYK"), "JPEG"),
        "cat/cut.png": good[: len(good) // 2],
        "dog/empty.png": b"",
        "dog/text.jpg": b"this is no image",
        "dog/tiny.png": png(photo.resize((9, 9))),
        "dog/huge.png": png(Image.new("1", (20000, 20000))),
        "dog/notes.txt": b"not asked for",
    }


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def job_of(url: str, out: str, policy: Policy) -> ShardJob:
    open_storage(out).create()
    return ShardJob(out=out, sources=(DataSource(url=url),), policy=policy)


def test_bad_files_are_quarantined_and_good_ones_kept(tmp_path: Path) -> None:
    source = str(write(tmp_path / "in", bad_and_good()))
    (tmp_path / "in" / "empty_class").mkdir()
    listed = find_files([DataSource(url=source)])
    assert listed.classes == ["cat", "dog", "empty_class"]
    job = job_of(source, str(tmp_path / "out"), Policy())
    report = make_shards(job, 0, listed.files)
    assert report["pictures"] == 3
    assert report["classes"] == {"cat": 3}
    reasons = {item["key"]: item["reason"] for item in report["quarantine"]}
    assert reasons.pop("dog/tiny.png") == "UnsupportedImageError"
    assert reasons.pop("dog/huge.png") == "LimitError"
    assert set(reasons) == {"cat/cut.png", "dog/empty.png", "dog/text.jpg"}
    assert all(item["error"] for item in report["quarantine"])
    rows = pq.read_table(tmp_path / "out" / shard_key(0)).to_pylist()
    first = {row["key"]: row for row in rows}["cat/good.png"]
    pixels = np.frombuffer(first["image"], np.uint8).reshape(first["height"], first["width"], 3)
    assert np.array_equal(pixels, photograph(80, 100))
    assert (first["class"], first["source"], first["scale"]) == ("cat", 0, 1.0)


def test_the_same_files_make_the_same_bytes(tmp_path: Path) -> None:
    source = str(write(tmp_path / "in", {"a.png": bad_and_good()["cat/good.png"]}))
    listed = find_files([DataSource(url=source)])
    made = [
        make_shards(job_of(source, str(tmp_path / n), Policy(gray=False)), 0, listed.files)
        for n in ("x", "y")
    ]
    assert made[0] == made[1]


def test_excluded_names_are_never_read(tmp_path: Path) -> None:
    good = bad_and_good()["cat/good.png"]
    source = str(write(tmp_path / "in", {"a.png": good, "ILSVRC2012_val_1.png": good}))
    listed = find_files([DataSource(url=source)], ["ILSVRC2012_val_*"])
    assert [file.key for file in listed.files] == ["a.png"]
    with pytest.raises(InputError, match="no image"):
        find_files([DataSource(url=source)], ["*"])


def test_s3_in_and_out(bucket: str) -> None:
    source, out = f"{bucket}/photos", f"{bucket}/prepared"
    storage = open_storage(source)
    for name, data in bad_and_good().items():
        storage.put(name, data)
    listed = find_files([DataSource(url=source)])
    assert listed.classes == ["cat", "dog"]
    (sample,) = samples_of(DataSource(url=source), listed.files[2], Policy(), ())
    assert isinstance(sample, Sample)
    assert (sample.key, sample.data) == ("cat/good.png", bad_and_good()["cat/good.png"])
    report = make_shards(job_of(source, out, Policy()), 7, listed.files)
    assert (report["pictures"], len(report["quarantine"])) == (3, 5)
    data = open_storage(out).get(shard_key(7)).data
    assert pq.read_table(io.BytesIO(data)).num_rows == 3


def test_an_unreachable_store_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3_environment: dict[str, str]
) -> None:
    from pipelines.storage import client as s3_client

    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3_client._client_of.cache_clear()
    try:
        with pytest.raises(StorageError):
            find_files([DataSource(url="s3://nowhere/photos")])
    finally:
        s3_client._client_of.cache_clear()
