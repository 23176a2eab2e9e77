"""A user's own classes: their set, its hash, the model file that holds it, and matching data."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from deepsic import weights
from deepsic.errors import UnknownModelError, UsageError
from deepsic.labels import (
    CustomSet,
    class_names,
    class_numbers,
    class_set,
    classes_of,
    is_custom,
    label_set,
)
from deepsic.weights import ModelFile

OWN = ("bolt", "nut, hexagonal", "Schraube Größe 8")


def test_a_custom_set_is_known_by_its_names_and_their_order() -> None:
    name = class_set(OWN)
    assert name == "custom-23f42a92a055bafc"
    assert [(node.name, node.wnid, node.number) for node in classes_of(name)] == [
        ("bolt", "", 0),
        ("nut, hexagonal", "", 1),
        ("Schraube Größe 8", "", 2),
    ]
    assert class_names(name) == list(OWN)
    assert class_set(list(OWN)) == name != class_set(OWN[::-1])


def test_classes_of_imagenet_stay_so() -> None:
    """By WordNet id, by usual name, or by all names, as data sets are handed around."""
    nodes = label_set("imagenet1k").classes()
    assert class_set([node.wnid for node in nodes]) == "imagenet1k"
    assert class_set([node.names for node in nodes]) == "imagenet1k"
    assert class_set([node.wnid for node in label_set("imagenette").classes()]) == "imagenette"
    part = class_set([node.wnid for node in nodes[5:205]])
    assert is_custom(part)
    assert class_set([node.name for node in nodes[5:205]]) == part
    assert [node.name for node in classes_of(part)] == [node.name for node in nodes[5:205]]
    assert [node.number for node in classes_of(part)] == list(range(200))
    mixed = class_set(["n01440764", "carp of ours"])
    assert [(n.name, n.wnid) for n in classes_of(mixed)] == [
        ("tench", "n01440764"),
        ("carp of ours", ""),
    ]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["one"], "at least two"),
        (["a", "b", "a"], "twice: a"),
        (["a", "b\n"], "unprintable"),
        (["a", ""], "empty"),
        (["a", "é" * 128], "255 bytes"),
    ],
)
def test_names_that_files_cannot_hold(names: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CustomSet(tuple(names))


def test_data_is_matched_to_a_set_or_refused_with_the_first_names() -> None:
    assert class_numbers(["tench", "n02102040"], "imagenet1k") == [0, 217]
    assert class_numbers(["bolt"], class_set(OWN)) == [0]
    with pytest.raises(UsageError, match=r"3 of 4 .*imagenette: bolt, nut, washer; rename"):
        class_numbers(["tench", "bolt", "nut", "washer"], "imagenette")
    with pytest.raises(UsageError, match=r"c0, c1, c2, c3, c4 and 195 more"):
        class_numbers([f"c{n}" for n in range(200)], "imagenette")


def test_a_set_that_nobody_brought_is_named() -> None:
    with pytest.raises(UsageError, match="load that model first"):
        classes_of("custom-ffffffffffffffff")


def test_a_model_file_brings_its_classes_to_another_process(tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    name = class_set(OWN)
    weights.write(
        path,
        ModelFile(preset="sic", config={}, tensors={"net.x": torch.ones(1)}, label_set=name),
    )
    script = (
        "from pathlib import Path\nfrom deepsic import weights\n"
        "from deepsic.labels import classes_of\n"
        f"print(ascii([n.name for n in classes_of(weights.read(Path({str(path)!r})).label_set)]))"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == ascii(list(OWN))


def test_a_model_file_whose_classes_were_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    weights.write(path, ModelFile(preset="sic", config={}, tensors={}, label_set=class_set(OWN)))
    data = path.read_bytes()
    for old, new in ((b"bolt", b"volt"), (b'[\\"bolt', b'{\\"bolt')):
        assert old in data
        path.write_bytes(data.replace(old, new))
        with pytest.raises(UnknownModelError, match="class names"):
            weights.read(path)
