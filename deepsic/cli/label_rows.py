"""Labels as rows of a report and as text: what is certain first, then what may be.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from deepsic.bitstream import Label, certain
from deepsic.labels import label_set

__all__ = ["at_depth", "label_row", "names_of", "rows_of", "text_of"]

_PERHAPS = 2
"""Guesses that are named beside what is certain."""
_LIKELY = 0.1
"""Probability from which a guess is named."""


def at_depth(seen: Sequence[Label], depth: int | None) -> list[Label]:
    """Replace labels by their ancestors at `depth` and add up what falls together.

    Labels with different boxes are different objects: two dogs stay two (DeepSIC section IV-D).
    """
    if depth is None:
        return list(seen)
    names = label_set("imagenet1k")
    total: dict[tuple[object, str], Label] = {}
    for label in seen:
        node = names.above(label.wnid, depth) if label.wnid in names else label
        key = label.box, node.wnid or node.name
        before = total[key].probability if key in total else 0.0
        sure = min(1.0, label.probability + before)
        total[key] = replace(label, name=node.name, wnid=node.wnid, probability=sure)
    return sorted(total.values(), key=lambda label: -label.probability)


def label_row(label: Label) -> dict[str, Any]:
    """A label for JSON."""
    row = {"name": label.name, "wnid": label.wnid, "probability": round(label.probability, 4)}
    return row if label.box is None else {**row, "box": [round(value, 4) for value in label.box]}


def rows_of(seen: Sequence[Label]) -> dict[str, Any]:
    """An image's labels for JSON, with the name that is certain, if one is."""
    sure = certain(seen)
    return {
        "certain": None if sure is None else label_row(sure),
        "labels": [label_row(label) for label in seen],
    }


def names_of(seen: Sequence[Label]) -> list[str]:
    """Names that hold for an image: the one that is certain, or of the objects with boxes."""
    boxed = dict.fromkeys(label.name for label in seen if label.box is not None)
    sure = certain(seen)
    return list(boxed) or ([] if sure is None else [sure.name])


def text_of(row: dict[str, Any]) -> str:
    """What `rows_of` says, in a line: "domestic cat 93%, perhaps Egyptian cat 55%"."""
    sure, labels = row["certain"], row["labels"]
    if not labels:
        return "nothing seen"
    if any("box" in label for label in labels):
        return _list(labels)
    first = f"{sure['name']} {sure['probability']:.0%}" if sure else "nothing certain"
    guesses = [label for label in labels[:_PERHAPS] if label["probability"] >= _LIKELY]
    if (sure and sure["name"] == labels[0]["name"]) or not guesses:
        return first
    return f"{first}, perhaps {_list(guesses)}"


def _list(labels: Sequence[dict[str, Any]]) -> str:
    return ", ".join(f"{label['name']} {label['probability']:.0%}" for label in labels)
