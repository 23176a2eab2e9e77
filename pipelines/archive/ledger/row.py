"""One row of the ledger, and its Parquet schema."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from deepsic.bitstream import Label

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "DAMAGED",
    "FAILED",
    "OK",
    "SKIPPED",
    "TRANSIENT",
    "UNSUPPORTED",
    "LedgerRow",
    "record_of",
    "row_of",
    "row_schema",
]

OK, FAILED = "ok", "failed"
#: No image: a text, a video, a `.sic` file.
SKIPPED = "skipped"
#: An image that this release can't read: HEIC, an animation.
UNSUPPORTED = "unsupported"
#: Kind of the rows of `verify --mark`: the output that an ok row speaks of is no longer good.
DAMAGED = "damaged"
#: Kinds of failure that say nothing about the image: the next run tries these again unasked.
TRANSIENT = frozenset({"storage", "source", DAMAGED})


@dataclass(frozen=True, kw_only=True)
class LedgerRow:
    """What became of one source object."""

    source_key: str
    source_etag: str
    source_size: int
    """Bytes."""
    source_modified: datetime | None = None
    """Last change of the source, where the store told it."""
    source_sha256: str = ""
    output_key: str = ""
    output_sha256: str = ""
    output_size: int = 0
    """Bytes; 0 unless ok."""
    width: int = 0
    height: int = 0
    bpp: float = 0.0
    """Bits of the whole file per pixel."""
    psnr: float | None = None
    """Of all channels as RGB, dB; only where `--verify decode` measured it."""
    labels: list[Label] = field(default_factory=list)
    job: str
    status: str
    """ok, skipped, unsupported or failed."""
    kind: str = ""
    """Of a failure: input, limit, time, verification, conflict, storage, archived, crash, ..."""
    reason: str = ""
    """In words, for people."""
    attempt: int = 0
    worker: str = ""
    """Host and process."""
    seconds: float = 0.0
    """Of this object alone; shared equally among images of a batch."""
    finished: datetime = field(default_factory=lambda: datetime.now(UTC))


@functools.cache
def row_schema() -> pa.Schema:
    """Schema of every part."""
    import pyarrow as pa

    label = pa.struct([("name", pa.string()), ("wnid", pa.string()), ("probability", pa.float32())])
    text = ["source_key", "source_etag", "source_sha256", "output_key", "output_sha256"]
    text += ["job", "status", "kind", "reason", "worker"]
    types = dict.fromkeys(text, pa.string())
    types |= dict.fromkeys(("source_size", "output_size"), pa.int64())
    types |= dict.fromkeys(("width", "height", "attempt"), pa.int32())
    types |= {"bpp": pa.float64(), "psnr": pa.float32(), "seconds": pa.float32()}
    types |= {"labels": pa.list_(label), "finished": pa.timestamp("us", "UTC")}
    types["source_modified"] = pa.timestamp("us", "UTC")
    return pa.schema([(name, types[name]) for name in LedgerRow.__dataclass_fields__])


def record_of(row: LedgerRow) -> dict[str, Any]:
    """A row as Arrow takes it."""
    record = {name: getattr(row, name) for name in LedgerRow.__dataclass_fields__}
    record["labels"] = [
        {"name": label.name, "wnid": label.wnid, "probability": label.probability}
        for label in row.labels
    ]
    return record


def row_of(record: dict[str, Any]) -> LedgerRow:
    """The reverse of `record_of`."""
    labels = [Label(**label) for label in record.pop("labels")]
    return LedgerRow(**record, labels=labels)
