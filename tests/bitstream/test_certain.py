"""What an image shows for certain, by the stored labels and WordNet."""

from __future__ import annotations

import pytest

from deepsic.bitstream import Label, certain
from deepsic.labels import label_set

NAMES = label_set("imagenet1k")


def seen(**chances: float) -> list[Label]:
    """Labels by name, underlines for spaces."""
    found = []
    for name, chance in chances.items():
        (wnid,) = NAMES.find(name.replace("_", " "))
        found.append(Label(NAMES[wnid].name, wnid, chance))
    return found


@pytest.mark.parametrize(
    ("chances", "shown"),
    [
        ({"Egyptian_cat": 0.9, "tabby": 0.05}, "Egyptian cat"),
        ({"Egyptian_cat": 0.5, "tabby": 0.45}, "domestic cat"),
        ({"English_springer": 0.5, "tabby": 0.4}, "carnivore"),
        ({"Egyptian_cat": 0.3, "tabby": 0.2}, None),
        ({"espresso": 0.5, "English_springer": 0.5}, None),  # an entity: tells nothing
        ({}, None),
    ],
)
def test_the_most_exact_name_without_doubt(chances: dict[str, float], shown: str | None) -> None:
    found = certain(seen(**chances))
    assert (found and found.name) == shown
    if found:
        assert found.probability >= 0.8


def test_objects_with_boxes_say_nothing_of_the_whole() -> None:
    (cat,) = seen(Egyptian_cat=0.9)
    assert certain([Label(cat.name, cat.wnid, 0.9, (0, 0, 1, 1))]) is None


def test_other_vocabularies_have_no_levels() -> None:
    assert certain([Label("mug", "", 0.7)]) is None
    found = certain([Label("mug", "", 0.95), Label("cup", "", 0.05)])
    assert found is not None
    assert found.name == "mug"
