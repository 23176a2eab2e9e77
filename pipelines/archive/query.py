"""What a search for a label means: which labels answer it, in a table and in a part's summary."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deepsic.errors import UsageError
from deepsic.labels import is_a, label_set
from pipelines.archive.ledger.parts import LedgerPart

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["FLOOR", "LabelQuery"]

#: The widest label set; the others are parts of it.
WORDNET = "imagenet1k"
#: Labels less probable than this are noise: a classifier names five, whatever it sees.
FLOOR = 0.1


@dataclass(frozen=True)
class LabelQuery:
    """A name ("English springer", "dog") or a wnid, with all that lies below it in WordNet.

    A name that WordNet doesn't know is compared with the labels' own names.
    """

    name: str
    wnids: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> LabelQuery:
        """Read what a person typed; a plural that WordNet doesn't know is tried as a singular."""
        tree = label_set(WORDNET)
        for name in (text, *_singulars(text)):
            if tree.find(name):
                below = frozenset(node.wnid for node in tree.nodes if is_a(node.wnid, name))
                return cls(name, below)
        return cls(text, frozenset())

    def in_part(self, part: LedgerPart, least: float) -> bool:
        """Whether a part may hold an answer of at least this probability."""
        if part.labels is None:
            return True
        # A summary holds float64 of what was stored as float32: no equality there.
        wanted = (self.name.casefold(), *self.wnids)
        return any(part.labels.get(name, -1.0) >= least - 1e-6 for name in wanted)

    def hits(self, labels: pa.ListArray, least: float) -> pa.Table:
        """(row, name, probability) of each row that answers, by its most probable answer."""
        import pyarrow as pa
        import pyarrow.compute as pc

        flat, rows = labels.flatten(), pc.list_parent_indices(labels)
        wnids, names, chances = (
            pc.struct_field(flat, name) for name in ("wnid", "name", "probability")
        )
        below, name = pa.array(sorted(self.wnids), pa.string()), self.name.casefold()
        match = pc.or_(
            _tested(names, lambda values: pc.equal(pc.utf8_lower(values), name)),
            _tested(wnids, lambda values: pc.is_in(values, value_set=below)),
        )
        enough = pc.greater_equal(chances, pa.scalar(least, pa.float32()))
        hits = pc.indices_nonzero(pc.and_(match, enough))
        of = rows.take(hits)  # labels are stored most probable first
        first = pa.concat_arrays([pa.array([True]), pc.not_equal(of[1:], of[:-1])])
        hits = hits.filter(first.slice(0, len(hits)))
        found = {"row": rows, "name": names, "probability": chances}
        return pa.table({name: values.take(hits) for name, values in found.items()})

    def unknown(self, seen: Iterable[str]) -> UsageError:
        """The error when neither WordNet nor any label has that name; `seen`: the labels' names."""
        names = {name for node in label_set(WORDNET).nodes for name in node.names.split(", ")}
        alike = 0.8 if len(self.name) > 4 else 0.65  # two letters of three changed places
        near = difflib.get_close_matches(self.name, {*names, *seen}, n=3, cutoff=alike)
        advice = (
            f"did you mean {' or '.join(near)}?" if near else "try a wider word, such as animal"
        )
        return UsageError(f"neither WordNet nor any label here knows {self.name!r}; {advice}")


def _tested(values: pa.Array, test: Callable[[pa.Array], pa.BooleanArray]) -> pa.BooleanArray:
    """`test` of each value; of what comes often once, where the values are a dictionary's."""
    import pyarrow as pa

    if isinstance(values, pa.DictionaryArray):
        return test(values.dictionary).take(values.indices)
    return test(values)


def _singulars(text: str) -> list[str]:
    """What an English plural may be the plural of."""
    endings = {"ies": "y", "ves": "f", "es": "", "s": ""}
    return [
        text[: -len(ending)] + stem
        for ending, stem in endings.items()
        if text.casefold().endswith(ending) and len(text) > len(ending) + 1
    ]
