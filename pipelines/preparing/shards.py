"""Shards: Parquet files that pyarrow reads without Ray or us.

    image   binary   RGB, height x width x 3 bytes, row by row
    height, width   int32
    label   int32    number in the manifest's classes, -1 without
    key     string   file below its source
    source  int32    number in the manifest's sources
    scale   float32
    weight  float32  how often training draws this picture

A shard's name and content follow from its number alone, so a rerun writes only what is missing.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deepsic.errors import DeepsicError
from pipelines.preparing.files import FileRef, read_file
from pipelines.preparing.policy import Policy, Source
from pipelines.preparing.rows import pictures_of
from pipelines.storage import ObjectMissingError, open_storage, put_verified, sha256

__all__ = ["AREA", "ShardJob", "make_shard", "report_key", "shard_key"]

AREA = 512 * 512
"""A picture of this many pixels has its source's weight."""


@dataclass(frozen=True, kw_only=True)
class ShardJob:
    """What every shard of a version is made with; travels to the workers."""

    out: str
    sources: tuple[Source, ...]
    policy: Policy
    classes: tuple[str, ...]


def shard_key(number: int) -> str:
    """Where a shard lies below its version's folder."""
    return f"shards/{number:06d}.parquet"


def report_key(number: int) -> str:
    """Where what was counted and quarantined of a shard lies; written last."""
    return f"reports/{number:06d}.json"


def schema() -> Any:
    """The documented columns."""
    import pyarrow as pa

    return pa.schema(
        [
            ("image", pa.binary()), ("height", pa.int32()), ("width", pa.int32()),
            ("label", pa.int32()), ("key", pa.string()), ("source", pa.int32()),
            ("scale", pa.float32()), ("weight", pa.float32()),
        ]
    )  # fmt: skip


def make_shard(job: ShardJob, number: int, files: Sequence[FileRef]) -> dict[str, Any]:
    """Read, prepare and write one shard; returns its report.

    Bad files are quarantined with their reason; only the destination's errors end the job.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = []
    bad: list[dict[str, str]] = []
    for file in files:
        try:
            rows += _rows(job, file)
        except (DeepsicError, ObjectMissingError) as error:
            reason = type(error).__name__
            bad.append(
                {"key": file.key, "source": str(file.source), "reason": reason, "error": str(error)}
            )
    buffer = io.BytesIO()
    table = pa.Table.from_pylist(rows, schema=schema())
    pq.write_table(table, buffer, compression="zstd", compression_level=1, row_group_size=64)
    data = buffer.getvalue()
    storage = open_storage(job.out)
    put_verified(storage, shard_key(number), data)
    labels = Counter(row["label"] for row in rows)
    return {
        "shard": number, "files": len(files), "pictures": len(rows), "bytes": len(data),
        "sha256": sha256(data), "quarantine": bad,
        "labels": {str(label): count for label, count in sorted(labels.items())},
    }  # fmt: skip


def _rows(job: ShardJob, file: FileRef) -> list[dict[str, Any]]:
    from deepsic.errors import InputError

    if file.problem:
        raise InputError(file.problem)
    source = job.sources[file.source]
    label = job.classes.index(file.class_name) if file.class_name else -1
    scales = source.scales or job.policy.scales
    return [
        {
            "image": pixels.tobytes(), "height": pixels.shape[0], "width": pixels.shape[1],
            "label": label, "key": file.key, "source": file.source, "scale": scale,
            "weight": source.weight * pixels.shape[0] * pixels.shape[1] / AREA,
        }
        for scale, pixels in pictures_of(read_file(source, file.key), job.policy, scales)
    ]  # fmt: skip
