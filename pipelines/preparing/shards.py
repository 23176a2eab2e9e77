"""Shards: Parquet files that pyarrow reads without Ray or us.

    image   binary   RGB, height x width x 3 bytes, row by row
    height, width   int32
    class   string   name, empty for none; the manifest lists all
    key     string   file below its source, and its name within a tar or Parquet file
    source  int32    number in the manifest's sources
    scale   float32
    weight  float32  how often training draws this image

A task is some image files, which become one shard, or one tar or Parquet file, which becomes as
many as it takes. Shards' names and contents follow from their task alone, so a rerun writes only
what is missing.
"""

from __future__ import annotations

import io
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from deepsic.errors import DeepsicError, InputError, LimitError
from pipelines.preparing.files import FileRef, samples_of
from pipelines.preparing.policy import DataSource, Policy
from pipelines.preparing.rows import images_of
from pipelines.preparing.samples import Sample
from pipelines.storage import (
    AccessError,
    ObjectMissingError,
    open_storage,
    put_verified,
    sha256,
)

__all__ = ["AREA", "ShardJob", "make_shards", "report_key", "shard_key"]

AREA = 512 * 512
"""An image of this many pixels has its source's weight."""
#: What is wrong with one file; anything else ends the job, and a rerun goes on.
_BAD = (InputError, LimitError, ObjectMissingError)


@dataclass(frozen=True, kw_only=True)
class ShardJob:
    """What every shard of a version is made with; travels to the workers."""

    out: str
    sources: tuple[DataSource, ...]
    policy: Policy
    class_names: tuple[tuple[str, ...], ...] = ()
    """For each source: names of classes that its files give as numbers."""


def shard_key(task: int, part: int = 0) -> str:
    """Where a shard lies below its version's folder."""
    return f"shards/{task:06d}-{part:04d}.parquet"


def report_key(task: int) -> str:
    """Where what was made, counted and quarantined of a task lies; written last."""
    return f"reports/{task:06d}.json"


def schema() -> Any:
    """The documented columns."""
    import pyarrow as pa

    return pa.schema(
        [
            ("image", pa.binary()), ("height", pa.int32()), ("width", pa.int32()),
            ("class", pa.string()), ("key", pa.string()), ("source", pa.int32()),
            ("scale", pa.float32()), ("weight", pa.float32()),
        ]
    )  # fmt: skip


def make_shards(job: ShardJob, task: int, files: Sequence[FileRef]) -> dict[str, Any]:
    """Read, prepare and write the shards of a task; returns its report.

    Bad files are quarantined with their reason; only storage that fails ends the job.
    """
    bad: list[dict[str, str]] = []
    found = _rows_of_files(job, files, bad)
    shards: list[dict[str, Any]] = []
    classes: Counter[str] = Counter()
    count = 0
    while chunk := list(itertools.islice(found, job.policy.pictures_a_shard)):
        count += len(chunk)
        rows = list(itertools.chain.from_iterable(chunk))
        classes.update(row["class"] for row in rows)
        if rows:
            shards.append(_write(job, shard_key(task, len(shards)), rows))
    return {
        "task": task, "files": count, "pictures": sum(shard["pictures"] for shard in shards),
        "shards": shards, "quarantine": bad, "classes": dict(sorted(classes.items())),
    }  # fmt: skip


def _write(job: ShardJob, key: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    table = pa.Table.from_pylist(rows, schema=schema())
    pq.write_table(table, buffer, compression="zstd", compression_level=1, row_group_size=64)
    data = buffer.getvalue()
    put_verified(open_storage(job.out), key, data)
    return {"key": key, "pictures": len(rows), "sha256": sha256(data)}


def _rows_of_files(
    job: ShardJob, files: Sequence[FileRef], bad: list[dict[str, str]]
) -> Iterator[list[dict[str, Any]]]:
    """Rows of each image; none, and an entry in `bad`, for one that can't be used."""
    for file in files:
        source = job.sources[file.source]
        names = job.class_names[file.source] if job.class_names else ()

        def quarantine(key: str, error: Exception, source: int = file.source) -> None:
            reason = type(error).__name__
            bad.append({"key": key, "source": str(source), "reason": reason, "error": str(error)})

        try:
            for sample in samples_of(source, file, job.policy, names):
                if isinstance(sample, Sample):
                    try:
                        yield _rows(job, file.source, sample)
                        continue
                    except (InputError, LimitError) as error:
                        quarantine(sample.key, error)
                else:
                    quarantine(file.key, sample)
                yield []
        except DeepsicError as error:
            local = "://" not in source.url
            if not isinstance(error, _BAD) and not (local and isinstance(error, AccessError)):
                raise
            quarantine(file.key, error)
            yield []


def _rows(job: ShardJob, number: int, sample: Sample) -> list[dict[str, Any]]:
    source = job.sources[number]
    scales = source.scales or job.policy.scales
    return [
        {
            "image": pixels.tobytes(), "height": pixels.shape[0], "width": pixels.shape[1],
            "class": sample.class_name, "key": sample.key, "source": number, "scale": scale,
            "weight": source.weight * pixels.shape[0] * pixels.shape[1] / AREA,
        }
        for scale, pixels in images_of(sample.data, job.policy, scales)
    ]  # fmt: skip
