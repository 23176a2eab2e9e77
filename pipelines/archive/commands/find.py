"""Search an archive by what is in its pictures: from the ledger, without reading a picture.

This is the papers' retrieval on the receiver's side: the labels were made once, at encoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deepsic.errors import UsageError
from deepsic.labels import is_a, label_set
from pipelines.archive.ledger import OK, Ledger

__all__ = ["Match", "find"]

#: The widest label set; the others are parts of it.
WORDNET = "imagenet1k"


@dataclass(frozen=True)
class Match:
    """A picture that answers a search."""

    output_key: str
    source_key: str
    name: str
    """Of the label that matches best."""
    probability: float


def find(ledger: Ledger, query: str, min_prob: float = 0.0) -> Iterator[Match]:
    """Pictures with a label that is `query` or lies below it in WordNet, in key order.

    query: a name ("English springer", "dog") or a wnid; a name that WordNet doesn't know is
        compared with the labels' own names.
    Raises: `UsageError` when nothing can match: neither WordNet nor any label has that name.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    names_of = label_set(WORDNET)
    found = names_of.find(query)  # empty: WordNet doesn't know it, and `is_a` would say so
    known = {node.wnid for node in names_of.nodes if found and is_a(node.wnid, query)}
    wanted = pa.array(sorted(known), pa.string())
    seen_name, seen_label = bool(known), False
    for table in ledger.tables(("output_key", "status", "labels")):
        table = table.filter(pc.equal(table["status"], OK)).combine_chunks()
        if not table.num_rows:
            continue
        labels = table["labels"].combine_chunks()
        flat, rows = labels.flatten(), pc.list_parent_indices(labels)
        seen_label = seen_label or len(flat) > 0
        wnids, names, chances = (
            pc.struct_field(flat, name) for name in ("wnid", "name", "probability")
        )
        named = pc.equal(pc.utf8_lower(names), query.casefold())
        match = pc.or_(named, pc.is_in(wnids, value_set=wanted))
        seen_name = seen_name or bool(pc.any(named).as_py())
        hits = pc.indices_nonzero(pc.and_(match, pc.greater_equal(chances, min_prob)))
        last = None
        for hit in hits.to_pylist():  # labels are stored most probable first
            row = rows[hit].as_py()
            if row != last:
                last = row
                yield Match(
                    table["output_key"][row].as_py(),
                    table["source_key"][row].as_py(),
                    names[hit].as_py(),
                    chances[hit].as_py(),
                )
    if not seen_label:
        raise UsageError("no picture of this archive has labels; compress it with --labeler")
    if not seen_name:
        raise UsageError(f"neither WordNet nor any label here knows {query!r}; try a wider word")
