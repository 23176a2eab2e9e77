"""The label sets that files can name, loaded when first asked for."""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path

from deepsic.errors import UsageError
from deepsic.labels.tree import LabelSet

__all__ = ["SETS", "TOP", "is_a", "label_set"]

TOP = 5
"""Labels that are kept of an image, unless told otherwise."""
#: Name and number in files, smallest set first. A number is never reused: its table is frozen.
SETS = {"imagenette": 2, "imagenet1k": 1}


@cache
def label_set(name: str) -> LabelSet:
    """Return the label set called `name`; raises `UsageError` if there is none."""
    if name not in SETS:
        raise UsageError(f"no label set {name!r}; there are: {', '.join(sorted(SETS))}")
    table = Path(__file__).with_name(f"{name}.tsv").read_text("utf-8")
    return LabelSet(name, SETS[name], table)


@lru_cache(maxsize=100_000)
def is_a(wnid: str, ancestor: str) -> bool:
    """Whether the class `wnid` is an `ancestor` (name or wnid) by WordNet; unknown wnids aren't.

    >>> is_a("n02102040", "dog"), is_a("n02102040", "cat")
    (True, False)
    """
    names = label_set("imagenet1k")
    return wnid in names and names.is_a(wnid, ancestor)
