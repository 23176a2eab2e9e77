"""Labels in few bytes: sizes, boxes, ancestors, free text."""

from __future__ import annotations

import pytest

from deepsic.bitstream import Label, Semantics
from deepsic.errors import CorruptFileError, UsageError
from deepsic.labels import class_set

SPRINGER = Label("English springer", "n02102040", 1.0)
DALMATIAN = Label("dalmatian", "n02110341", 0.25)
DOG = Label("dog", "n02084071", 0.25)


def test_the_smallest_set_that_holds_all_labels_is_taken() -> None:
    assert Semantics.of([SPRINGER]).label_set == "imagenette"
    assert Semantics.of([SPRINGER, DALMATIAN]).label_set == "imagenet1k"
    assert Semantics.of([SPRINGER, Label("zebra crossing", "", 0.5)]).label_set == "text"
    assert Semantics.of([]) == Semantics("text", ())


def test_sizes() -> None:
    assert len(Semantics("imagenette", (SPRINGER,)).pack()) == 4  # 2 + 4 bits + 8 bits
    assert len(Semantics("imagenet1k", (SPRINGER,)).pack()) == 5  # 2 + 11 bits + 8 bits


def test_labels_are_stored_most_probable_first() -> None:
    assert Semantics.of([DALMATIAN, SPRINGER]).labels == (SPRINGER, DALMATIAN)


def test_ancestors_can_be_labels() -> None:
    stored = Semantics("imagenet1k", (SPRINGER, DOG))
    back = Semantics.unpack(stored.pack())
    assert [label.name for label in back.labels] == ["English springer", "dog"]


def test_an_ancestor_without_classes_below_it_is_stored_as_text() -> None:
    tool = Label("domestic animal", "n01317541", 1.0)  # dogs are filed under canine
    stored = Semantics.of([tool])
    assert stored.label_set == "text"
    assert Semantics.unpack(stored.pack()).labels == (Label("domestic animal", "", 1.0),)
    with pytest.raises(UsageError):
        Semantics("imagenet1k", (tool,)).pack()


def test_boxes() -> None:
    boxed = Label("person", "", 0.64, (0.0, 0.25, 0.5, 1.0))
    whole = Label("sky", "", 0.16)
    back = Semantics.unpack(Semantics.of([boxed, whole]).pack())
    assert back.labels[0].box == pytest.approx(boxed.box, abs=0.0005)
    assert back.labels[1].box == (0, 0, 1, 1)


@pytest.mark.parametrize(
    "label",
    [
        Label("a", "", 1.1),
        Label("a", "", float("nan")),
        Label("a", "", 0.5, (0, 0, 2, 1)),
        Label("x" * 256, "", 0.5),
        Label("a\x1b[31m", "", 0.5),
    ],
)
def test_labels_that_do_not_fit(label: Label) -> None:
    with pytest.raises(UsageError):
        Semantics("text", (label,)).pack()


def test_too_many_labels() -> None:
    with pytest.raises(UsageError, match="32 labels"):
        Semantics("text", (Label("a", "", 0.5),) * 32).pack()


def test_labels_of_own_classes_hold_the_hash_of_their_set() -> None:
    name = class_set(["bolt", "nut"])
    own = Semantics.of(
        [Label("nut", "", 0.25, label_set=name), Label("bolt", "", 1, label_set=name)]
    )
    assert own.label_set == name
    data = own.pack()
    assert data[:10] == b"\x03\x02" + bytes.fromhex(name[-16:])
    assert len(data) == 10 + (1 + 4 + 1) + (1 + 3 + 1)
    back = Semantics.unpack(data)
    assert [(label.name, label.label_set) for label in back.labels] == [
        ("bolt", name),
        ("nut", name),
    ]
    assert back.pack() == data
    assert Semantics.of(back.labels).pack() == data


def test_labels_of_several_sets_are_text() -> None:
    mixed = [Label("nut", "", 0.5, label_set=class_set(["bolt", "nut"])), Label("tree", "", 0.5)]
    assert Semantics.of(mixed).label_set == "text"


def test_own_classes_that_are_imagenets_are_stored_as_paths() -> None:
    name = class_set(["n02102040", "n02110341"])
    springer = Label("English springer", "n02102040", 1.0, label_set=name)
    assert Semantics.of([springer]).label_set == "imagenette"


@pytest.mark.parametrize("name", ["custom-12", "custom-zzzzzzzzzzzzzzzz", "custom-"])
def test_a_custom_set_needs_a_hash(name: str) -> None:
    with pytest.raises(UsageError, match="isn't the name"):
        Semantics(name, ()).pack()


def test_a_custom_set_cut_short_is_corrupt() -> None:
    with pytest.raises(CorruptFileError):
        Semantics.unpack(b"\x03\x00" + bytes(7))
    assert Semantics.unpack(b"\x03\x00" + bytes(8)).labels == ()
