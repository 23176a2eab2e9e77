"""What classes are called and how they are related. Standard library only.

>>> from deepsic.labels import label_set
>>> springer = label_set("imagenet1k")["n02102040"]
>>> springer.name, springer.number
('English springer', 217)
"""

from __future__ import annotations

from deepsic.labels.custom import (
    CustomSet,
    class_names,
    class_numbers,
    class_set,
    classes_of,
    custom_name,
    is_custom,
)
from deepsic.labels.sets import SETS, TOP, is_a, label_set
from deepsic.labels.tree import LabelSet, Node

__all__ = [
    "SETS",
    "TOP",
    "CustomSet",
    "LabelSet",
    "Node",
    "class_names",
    "class_numbers",
    "class_set",
    "classes_of",
    "custom_name",
    "is_a",
    "is_custom",
    "label_set",
]
