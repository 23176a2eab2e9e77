"""What classes are called and how they are related. Standard library only.

>>> from deepsic.labels import label_set
>>> springer = label_set("imagenet1k")["n02102040"]
>>> springer.name, springer.number
('English springer', 217)
"""

from __future__ import annotations

from deepsic.labels.sets import SETS, is_a, label_set
from deepsic.labels.tree import LabelSet, Node

__all__ = ["SETS", "LabelSet", "Node", "is_a", "label_set"]
