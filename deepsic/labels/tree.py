"""One label set as a tree: names, parents, search, and the bits that walk it.

Wordtree coding (DeepSIC section IV-D; the idea is YOLO9000's WordTree). The n classes in file
order, which is depth-first, are split in two again and again until one is left, and one bit tells
which part holds the class. The split goes where the hierarchy parts highest up, but at least n // 3
classes stay on either side, so no bit is wasted on a lopsided choice: ImageNet's thousand classes
take 10.3 bits on average where a plain walk from node to node takes 15.6. Every prefix of the bits
names the lowest node above all classes still possible: animal, dog, spaniel, English springer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from deepsic.errors import UsageError

__all__ = ["LabelSet", "Node"]


@dataclass(frozen=True, slots=True)
class Node:
    """A class or one of its ancestors."""

    wnid: str
    names: str
    """Comma-separated, the usual one first."""
    depth: int
    """Steps from the root."""
    number: int | None
    """Class number that a classifier gives; None for ancestors."""
    parent: int | None
    """Row of the parent in the tree."""
    others: tuple[str, ...]
    """wnids of parents beside the tree: a dog is a canine, and a domestic animal as well."""

    @property
    def name(self) -> str:
        """The usual name."""
        return self.names.split(", ", 1)[0]


class LabelSet:
    """Names and hierarchy of a classifier's classes.

    Args:
        name: such as "imagenet1k".
        identity: the number that files hold for this set.
        table: lines of `build.py`: depth, wnid, class number, names, other parents.
    """

    def __init__(self, name: str, identity: int, table: str) -> None:
        self.name = name
        self.identity = identity
        self.nodes: list[Node] = []
        self._rows: dict[str, int] = {}
        self._children: list[list[int]] = []
        trail: list[int] = []
        for row, line in enumerate(table.splitlines()):
            depth, wnid, number, names, others = line.split("\t")
            del trail[int(depth) :]
            parent = trail[-1] if trail else None
            self.nodes.append(
                Node(
                    wnid,
                    names,
                    int(depth),
                    int(number) if number else None,
                    parent,
                    tuple(others.split()),
                )
            )
            self._rows[wnid] = row
            self._children.append([])
            if parent is not None:
                self._children[parent].append(row)
            trail.append(row)
        self._leaves = [row for row, node in enumerate(self.nodes) if node.number is not None]
        self._first = _first_leaves(len(self.nodes), self._leaves)
        self._meet = self._meeting_depths()
        self._splits: dict[tuple[int, int], int] = {}

    def __contains__(self, wnid: object) -> bool:
        return wnid in self._rows

    def __getitem__(self, wnid: str) -> Node:
        """Return the node of `wnid`; raises `UsageError` if this set doesn't have it."""
        try:
            return self.nodes[self._rows[wnid]]
        except KeyError:
            raise UsageError(f"{wnid!r} isn't in label set {self.name}") from None

    def classes(self) -> list[Node]:
        """Return the classes in the order of their numbers."""
        found = [node for node in self.nodes if node.number is not None]
        return sorted(found, key=lambda node: node.number or 0)

    def is_class(self, wnid: str) -> bool:
        """Whether `wnid` is a class, not an ancestor of classes."""
        return self[wnid].number is not None

    def path(self, wnid: str) -> list[Node]:
        """Return the nodes from the root to `wnid`, both included."""
        row: int | None = self._row(wnid)
        found: list[Node] = []
        while row is not None:
            found.append(self.nodes[row])
            row = self.nodes[row].parent
        return found[::-1]

    def parents(self, wnid: str) -> list[Node]:
        """Return the direct parents, the one in the tree first."""
        node = self[wnid]
        tree = [] if node.parent is None else [self.nodes[node.parent]]
        return tree + [self[other] for other in node.others]

    def find(self, name_or_wnid: str) -> set[str]:
        """Return the wnids of all nodes that have this wnid or name, whatever the case."""
        if name_or_wnid in self:
            return {name_or_wnid}
        wanted = name_or_wnid.casefold()
        return {
            node.wnid
            for node in self.nodes
            if wanted in node.names.casefold() and wanted in node.names.casefold().split(", ")
        }

    def is_a(self, wnid: str, ancestor: str) -> bool:
        """Whether `wnid` is `ancestor` (wnid or name) or lies below it, over all parents.

        Raises `UsageError` if either isn't in this set.
        """
        wanted = self.find(ancestor)
        if not wanted:
            raise UsageError(f"{ancestor!r} isn't in label set {self.name}")
        return any(node.wnid in wanted for node in self._above(wnid))

    def has_classes(self, wnid: str) -> bool:
        """Whether `wnid` is in this set and is a class or the tree has classes below it."""
        if wnid not in self:
            return False
        row = self._rows[wnid]
        place = self._first[row]
        return place < len(self._leaves) and self._below(self._leaves[place], row)

    def path_bits(self, wnid: str) -> list[int]:
        """Return the bits that lead to `wnid`, or, for an ancestor, to the first class below it.

        Raises `UsageError` for a node with no class below it in the tree.
        """
        target = self._first[self._row(wnid)]
        if not self.has_classes(wnid):
            raise UsageError(f"{self[wnid].name} ({wnid}) has no class below it")
        bits: list[int] = []
        low, high = 0, len(self._leaves)
        while high - low > 1:
            middle = self._split(low, high)
            bits.append(int(target >= middle))
            low, high = (middle, high) if bits[-1] else (low, middle)
        return bits

    def walk(self, next_bit: Callable[[], int], limit: int | None = None) -> Node:
        """Follow bits to a class; or `limit` bits, to what the class is sure to be."""
        low, high = 0, len(self._leaves)
        used = 0
        while high - low > 1 and used != limit:
            middle = self._split(low, high)
            low, high = (middle, high) if next_bit() else (low, middle)
            used += 1
        node = self.nodes[self._leaves[low]]
        if high - low == 1:
            return node
        return self.above(node.wnid, min(self._meet[low + 1 : high]))

    def above(self, wnid: str, depth: int) -> Node:
        """Return the ancestor of `wnid` at `depth` (0: the root), itself if it isn't deeper."""
        path = self.path(wnid)
        return path[min(depth, len(path) - 1)]

    def certain(self, chances: Mapping[str, float], least: float) -> tuple[Node, float] | None:
        """The lowest node that holds at least `least` of the probability, and how much it holds.

        Args:
            chances: probability of each wnid; those of other sets count for nothing.

        Returns: None where only a node above more than half of all classes holds so much: "entity",
            "artifact" tell nothing.
        """
        held: dict[int, float] = {}
        for wnid, chance in chances.items():
            row: int | None = self._rows.get(wnid)
            while row is not None:
                held[row] = held.get(row, 0.0) + chance
                row = self.nodes[row].parent
        sure = [
            (self.nodes[row].depth, chance, row)
            for row, chance in held.items()
            if chance >= least and 2 * self._classes_below(row) <= len(self._leaves)
        ]
        if not sure:
            return None
        _, chance, row = max(sure)
        return self.nodes[row], min(1.0, chance)

    def _classes_below(self, row: int) -> int:
        """How many classes a node stands above; 1 for a class."""
        return sum(self._below(leaf, row) for leaf in self._leaves[self._first[row] :])

    def _row(self, wnid: str) -> int:
        self[wnid]
        return self._rows[wnid]

    def _below(self, row: int | None, ancestor: int) -> bool:
        while row is not None and row > ancestor:
            row = self.nodes[row].parent
        return row == ancestor

    def _meeting_depths(self) -> list[int]:
        """For each class, how deep the lowest node above it and its predecessor lies."""
        depths: list[int] = []
        for before, row in zip([0, *self._leaves], self._leaves, strict=False):
            # Depth first: everything between two neighbouring classes hangs below their meeting.
            between = self.nodes[before + 1 : row + 1]
            depths.append(min((node.depth for node in between), default=1) - 1)
        return depths

    def _split(self, low: int, high: int) -> int:
        """Return the class (by place in the file) where the right part of [low, high) starts."""
        found = self._splits.get((low, high))
        if found is None:
            margin = max(1, (high - low) // 3)
            meet = self._meet
            found = min(
                range(low + margin, high - margin + 1),
                key=lambda place: (meet[place], abs(2 * place - low - high), place),
            )
            self._splits[low, high] = found
        return found

    def _above(self, wnid: str) -> Iterator[Node]:
        """Yield `wnid` and all its ancestors, some more than once."""
        queue = [self[wnid]]
        while queue:
            node = queue.pop()
            yield node
            queue += self.parents(node.wnid)


def _first_leaves(count: int, leaves: list[int]) -> list[int]:
    """For each of `count` rows, the place in `leaves` of the first leaf at or after the row."""
    first: list[int] = []
    place = 0
    for row in range(count):
        if place < len(leaves) and leaves[place] < row:
            place += 1
        first.append(place)
    return first
