"""Label sets of a user's own classes: as many and as named as their data says.

A custom set is known by its hash. Its class names lie in the model file whose head knows them; a
`.sic` file holds the hash and the names that it uses, so labels read without the model.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from deepsic.errors import UsageError
from deepsic.labels.sets import SETS, label_set
from deepsic.labels.tree import Node

__all__ = [
    "CustomSet",
    "class_names",
    "class_numbers",
    "class_set",
    "classes_of",
    "custom_name",
    "is_custom",
]

_PREFIX = "custom-"
_HASH_BYTES = 8
_NAME_BYTES = 255
#: Sets that this process met, in data or in a model file, by name. A name is a hash of the
#: content, so an entry never changes.
_known: dict[str, CustomSet] = {}


@dataclass(frozen=True)
class CustomSet:
    """Classes in the order of their numbers.

    Raises:
        UsageError: fewer than two, one twice, or a name that files can't hold.
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.names) < 2:
            raise UsageError(f"a head tells at least two classes apart; the data has {self.names}")
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise UsageError(f"classes that are there twice: {', '.join(twice[:5])}")
        for name in self.names:
            if not name.isprintable() or not 0 < len(name.encode()) <= _NAME_BYTES:
                raise UsageError(
                    f"class name {name[:40]!r} is empty, over {_NAME_BYTES} bytes, or has "
                    "unprintable characters: rename it"
                )

    @property
    def name(self) -> str:
        """Such as "custom-0123456789abcdef": of the first 8 bytes of the names' SHA-256."""
        text = "".join(f"{name}\n" for name in self.names)
        return custom_name(hashlib.sha256(text.encode()).digest()[:_HASH_BYTES])

    def classes(self) -> list[Node]:
        """The classes; those named by a WordNet id that ImageNet has get its usual names."""
        wordnet = label_set("imagenet1k")
        found = []
        for number, name in enumerate(self.names):
            known = name in wordnet
            if known:
                found.append(Node(name, wordnet[name].names, 0, number, None, ()))
            else:
                found.append(_OwnNode("", name, 0, number, None, ()))
        return found


class _OwnNode(Node):
    """A class that WordNet doesn't know: a comma in its name stands for no synonym."""

    __slots__ = ()

    @property
    def name(self) -> str:
        return self.names


def class_set(names: Sequence[str]) -> str:
    """Name of the label set of these classes, in this order; from now on `classes_of` knows it.

    Classes that are all ImageNet's, whether called by WordNet id or by name, are known by id; a
    shipped set is taken where they are its classes in its order.
    Raises: `UsageError` as `CustomSet`.
    """
    wordnet = _by_any_name("imagenet1k")
    nodes = [wordnet.get(name) for name in names]
    wnids = [node.wnid for node in nodes if node is not None]
    if len(wnids) == len(names):
        names = wnids
    for shipped in SETS:
        if [node.wnid for node in label_set(shipped).classes()] == list(names):
            return shipped
    custom = CustomSet(tuple(names))
    _known[custom.name] = custom
    return custom.name


def class_names(name: str) -> list[str]:
    """What `class_set` was called with, or would be: WordNet ids, else names."""
    return [node.wnid or node.name for node in classes_of(name)]


def class_numbers(names: Sequence[str], labels: str) -> list[int]:
    """Number in a label set of each of the classes that data has, by WordNet id or name.

    Raises: `UsageError` for classes that the set lacks, with the first few, or an unknown set.
    """
    nodes = _by_any_name(labels)
    missing = [name for name in names if name not in nodes]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise UsageError(
            f"{len(missing)} of {len(names)} classes of the data aren't in label set {labels}: "
            f"{', '.join(missing[:5])}{more}; rename them, or leave the set to the data"
        )
    return [nodes[name].number or 0 for name in names]


def classes_of(name: str) -> list[Node]:
    """The classes of a shipped or custom label set, in the order of their numbers.

    Raises: `UsageError` for a set that isn't known here.
    """
    if not is_custom(name):
        return label_set(name).classes()
    if name not in _known:
        raise UsageError(f"label set {name} lies in a model file: load that model first")
    return _known[name].classes()


def is_custom(name: str) -> bool:
    """Whether a label set's name is that of a user's own classes."""
    return name.startswith(_PREFIX)


def _by_any_name(labels: str) -> dict[str, Node]:
    """Classes by WordNet id, by all their names in one, and by a usual name that only one has."""
    nodes = classes_of(labels)
    usual = Counter(node.name for node in nodes)
    found = {node.name: node for node in nodes if usual[node.name] == 1}
    found |= {node.names: node for node in nodes}
    return found | {node.wnid: node for node in nodes if node.wnid}


def custom_name(digest: bytes) -> str:
    """Name of the custom set with a hash of 8 bytes."""
    return _PREFIX + digest.hex()
