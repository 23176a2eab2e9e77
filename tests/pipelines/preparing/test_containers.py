"""Tars and Parquet files give the same images and classes as the folders they were made of."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepsic.errors import InputError
from pipelines.preparing.files import find_files, named_classes
from pipelines.preparing.job import manifest_of, tasks_of
from pipelines.preparing.policy import DataSource, Policy
from pipelines.preparing.shards import ShardJob, make_shards
from pipelines.storage import open_storage
from tests.pipelines.preparing.test_shards import bad_and_good, png
from tests.pipelines.training.made import class_folders

CLASSES = ["n01440764", "n03888257"]
Made = dict[str, tuple[str, bytes]]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Image files of two classes, by class and name."""
    folder = class_folders(tmp_path_factory.mktemp("images"), each=5, side=64)
    paths = sorted(folder.rglob("*.png"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def tar(members: dict[str, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as file:  # type: ignore[call-overload]
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def webdataset(images: dict[str, bytes], label: Callable[[str], dict[str, bytes]]) -> bytes:
    members = {}
    for number, (name, data) in enumerate(images.items()):
        members[f"{number:06d}.png"] = data
        members |= {
            f"{number:06d}.{end}": text for end, text in label(name.partition("/")[0]).items()
        }
    return tar(members)


def parquet(rows: list[dict[str, Any]], metadata: dict[str, Any] | None = None) -> bytes:
    table = pa.Table.from_pylist(rows)
    if metadata is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps(metadata)})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def prepare(
    files: dict[str, bytes], folder: str, out: str, options: str = "", **policy: Any
) -> tuple[Any, Made]:
    """Prepare files; the manifest, and class and pixels by the end of each key."""
    store = open_storage(folder)
    for name, data in files.items():
        store.put(name, data)
    sources, settings = (DataSource.parse(folder + options),), Policy(**policy)
    listed = find_files(sources, settings.exclude)
    names = tuple(tuple(named_classes(source)) for source in sources)
    job = ShardJob(out=out, sources=sources, policy=settings, class_names=names)
    open_storage(out).create()
    tasks = tasks_of(listed.files, settings.pictures_a_shard)
    reports = [make_shards(job, number, task) for number, task in enumerate(tasks)]
    made: Made = {}
    for report in reports:
        for shard in report["shards"]:
            data = open_storage(out).get(shard["key"]).data
            rows = pq.read_table(io.BytesIO(data)).to_pylist()
            assert len(rows) == shard["pictures"] <= settings.pictures_a_shard
            made |= {row["key"]: (row["class"], row["image"]) for row in rows}
    return manifest_of("test", listed, job, reports), made


def contents(made: Made) -> list[tuple[str, bytes]]:
    return sorted(made.values())


def layouts(images: dict[str, bytes]) -> dict[str, tuple[dict[str, bytes], str]]:
    """Every way that the same set is handed around: files, and options of the source."""
    numbers = {name: str(n).encode() for n, name in enumerate(CLASSES)}
    imagenet = {CLASSES[0]: b"0", CLASSES[1]: b"701"}
    rows = [
        {
            "image": {"bytes": data, "path": name.rpartition("/")[2]},
            "label": CLASSES.index(name.partition("/")[0]),
        }
        for name, data in images.items()
    ]
    features = {"info": {"features": {"label": {"_type": "ClassLabel", "names": CLASSES}}}}
    plain = [
        {"jpg": data, "cls": name.partition("/")[0], "__key__": name}
        for name, data in images.items()
    ]
    by_class = {
        f"train/{wnid}.tar": tar(
            {name.partition("/")[2]: data for name, data in images.items() if name.startswith(wnid)}
        )
        for wnid in CLASSES
    }
    return {
        "folders": (images, ""),
        "tar of folders": ({"all.tar": tar(images)}, ""),
        "tar.gz": ({"all.tar.gz": tar(images, "w:gz")}, ""),
        "a tar a class": (by_class, ""),
        "names in .cls": ({"0.tar": webdataset(images, lambda c: {"cls": c.encode()})}, ""),
        "numbers of imagenet": (
            {"0.tar": webdataset(images, lambda c: {"cls": imagenet[c]})}, "?classes=imagenet1k"
        ),
        "numbers in .json": (
            {"0.tar": webdataset(
                images, lambda c: {"json": b'{"label": ' + numbers[c] + b', "width": 9}'}
             )}, "?classes={folder}/names.txt",
        ),
        "parquet of a hub": ({"0.parquet": parquet(rows, features)}, ""),
        "plain parquet": ({"0.parquet": parquet(plain)}, ""),
    }  # fmt: skip


LAYOUTS = (
    "tar of folders", "tar.gz", "a tar a class", "names in .cls", "numbers of imagenet",
    "numbers in .json", "parquet of a hub", "plain parquet",
)  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_images(
    layout: str, images: dict[str, bytes], tmp_path: Path
) -> None:
    (tmp_path / "names.txt").write_text("\n".join(CLASSES) + "\n")
    files, options = layouts(images)[layout]
    expected, wanted = prepare(images, str(tmp_path / "f"), str(tmp_path / "fo"))
    manifest, made = prepare(
        files, str(tmp_path / "c"), str(tmp_path / "co"), options.format(folder=tmp_path),
        pictures_a_shard=4,
    )  # fmt: skip
    assert contents(made) == contents(wanted)
    assert len(made) == 10
    assert manifest.classes == expected.classes == CLASSES
    assert manifest.class_counts == expected.class_counts
    assert manifest.counts == expected.counts


def test_containers_on_s3(images: dict[str, bytes], bucket: str) -> None:
    found = layouts(images)
    files = found["tar of folders"][0] | found["parquet of a hub"][0]
    manifest, made = prepare(files, f"{bucket}/in", f"{bucket}/out", pictures_a_shard=4)
    assert manifest.counts["files"] == len(made) == 20
    assert manifest.class_counts == dict.fromkeys(CLASSES, 10)


def test_bad_members_are_quarantined_and_good_ones_kept(tmp_path: Path) -> None:
    files = bad_and_good()
    hidden = {"cat/._good.png": b"mac", "cat/.DS_Store": b"mac"}
    manifest, made = prepare(
        {"a.tar": tar(files | hidden)}, str(tmp_path / "in"), str(tmp_path / "out")
    )
    assert sorted(made) == ["a.tar/cat/cmyk.jpg", "a.tar/cat/good.png", "a.tar/cat/gray.png"]
    assert manifest.counts == {
        "files": 8, "pictures": 3, "quarantined": 5, "quarantined InputError": 3,
        "quarantined LimitError": 1, "quarantined UnsupportedImageError": 1,
    }  # fmt: skip


def quarantined(files: dict[str, bytes], folder: Path, options: str = "") -> list[dict[str, str]]:
    store = open_storage(str(folder))
    for name, data in files.items():
        store.put(name, data)
    source = DataSource.parse(str(folder) + options)
    listed = find_files([source])
    job = ShardJob(
        out=f"{folder}-out", sources=(source,), policy=Policy(),
        class_names=(tuple(named_classes(source)),),
    )  # fmt: skip
    open_storage(job.out).create()
    bad: list[dict[str, str]] = make_shards(job, 0, listed.files)["quarantine"]
    return bad


def test_what_is_wrong_with_a_container_is_named(images: dict[str, bytes], tmp_path: Path) -> None:
    whole = layouts(images)["tar of folders"][0]["all.tar"]
    cases = {
        "cut.tar": (whole[: len(whole) // 2], "damaged after"),
        "text.tar": (b"this is no tar" * 100, "damaged after 0"),
        "empty.tar": (b"", "damaged after 0"),
        "nested.tar": (tar({"n01440764.tar": whole}), "unpack it one level"),
        "text.parquet": (b"this is no parquet", "damaged after 0"),
        "none.parquet": (parquet([{"caption": "a cat", "url": "x"}]), "columns are caption, url"),
        "number.tar": (webdataset(images, lambda _: {"cls": b"7"}), "class 7 isn't one of the 2"),
        "list.tar": (webdataset(images, lambda _: {"json": b'{"label": [1]}'}), "neither number"),
        "null.parquet": (parquet([{"image": None}, {"image": b"x"}]), "no image bytes"),
    }
    (tmp_path / "names.txt").write_text("\n".join(CLASSES))
    for name, (data, message) in cases.items():
        folder = tmp_path / name.replace(".", "_")
        bad = quarantined({name: data}, folder, f"?classes={tmp_path}/names.txt")
        assert message in bad[0]["error"], (name, bad)
        assert bad[0]["key"].startswith(name)


def test_a_tar_cut_short_keeps_what_was_whole(images: dict[str, bytes], tmp_path: Path) -> None:
    whole = layouts(images)["tar of folders"][0]["all.tar"]
    manifest, made = prepare(
        {"cut.tar": whole[: len(whole) * 6 // 10]}, str(tmp_path / "in"), str(tmp_path / "out")
    )
    assert 3 <= len(made) < 10
    assert manifest.counts["quarantined"] >= 1


def test_numbers_without_names_are_classes_in_their_order(
    images: dict[str, bytes], tmp_path: Path
) -> None:
    numbers = iter(str(n).encode() for n in range(9, 19))
    data = webdataset(images, lambda _: {"cls": next(numbers)})
    manifest, _ = prepare({"a.tar": data}, str(tmp_path / "in"), str(tmp_path / "out"))
    assert manifest.classes == [str(n) for n in range(9, 19)]
    negative = webdataset(images, lambda _: {"cls": b"-1\n"})
    manifest, made = prepare({"a.tar": negative}, str(tmp_path / "i2"), str(tmp_path / "o2"))
    assert manifest.classes == []
    assert {name for name, _ in made.values()} == {""}


def test_class_names_must_be_somewhere(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"neither a label set \(imagenette, imagenet1k\) nor"):
        named_classes(DataSource.parse(f"{tmp_path}?classes=imagenet2k"))


def test_every_and_exclude_hold_inside_containers(images: dict[str, bytes], tmp_path: Path) -> None:
    _, made = prepare(
        {"a.tar": tar(images)}, str(tmp_path / "in"), str(tmp_path / "out"), "?every=3",
        exclude=("0.png",),
    )  # fmt: skip
    assert sorted(made) == [
        "a.tar/n01440764/3.png", "a.tar/n03888257/1.png", "a.tar/n03888257/4.png",
    ]  # fmt: skip


def test_an_image_beside_a_tar_is_read_too(images: dict[str, bytes], tmp_path: Path) -> None:
    from PIL import Image

    files = {"a.tar": tar(images), "b.png": png(Image.new("RGB", (64, 64), "red"))}
    _, made = prepare(files, str(tmp_path / "in"), str(tmp_path / "out"))
    assert len(made) == 11
    assert made["b.png"][0] == ""
