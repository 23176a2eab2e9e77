"""What an image shows for certain: a name at the WordNet level at which there is little doubt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from deepsic.bitstream.semantics import Label
from deepsic.labels import label_set

__all__ = ["SURE", "certain"]

SURE: Final = 0.8
"""Probability from which a label counts as certain. On photographs that the choice never saw, the
names shown are right at least nine times of ten, over both sets: docs/results/labels.md."""


def certain(labels: Sequence[Label], least: float = SURE) -> Label | None:
    """The most exact name that is certain, "dog" where the breed isn't; None if nothing is.

    Args:
        labels: of one image, as a file stores them. Those with a box are objects of their own and
            count for nothing here.
        least: probability from which it is certain.
    """
    whole = [label for label in labels if label.box is None]
    names = label_set("imagenet1k")
    found = names.certain({label.wnid: label.probability for label in whole if label.wnid}, least)
    if found is not None:
        node, chance = found
        return Label(node.name, node.wnid, chance)
    return next((label for label in whole if not label.wnid and label.probability >= least), None)
