"""S3 Inventory in place of a listing: files in which AWS has written down a bucket's keys."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import unquote_plus

from deepsic.errors import InputError
from pipelines.storage import ObjectInfo, S3Storage, Storage

__all__ = ["inventory_rows"]

WANTED = ("Key", "Size", "ETag", "LastModifiedDate", "StorageClass", "IsLatest", "IsDeleteMarker")
NEEDED = {"Key", "Size", "ETag"}


def inventory_rows(place: S3Storage, manifest: str, source: Storage) -> Iterator[ObjectInfo]:
    """Objects of `source` that an inventory lists, in no order; old versions are left out.

    place, manifest: where its `manifest.json` is. Its data files are looked for in the same bucket.
    Raises: `InputError` for a manifest of another bucket, of a format that isn't CSV or Parquet,
        or without key, size or ETag.
    """
    bucket, _, prefix = source.url.removeprefix("s3://").partition("/")
    prefix = prefix and prefix + "/"
    content = _manifest(place, manifest)
    if content.get("sourceBucket") != bucket:
        raise InputError(
            f"{place.url}/{manifest} is of bucket {content.get('sourceBucket')!r}, the source is "
            f"in {bucket!r}; give the inventory of the source"
        )
    root = replace(place, url=f"s3://{place.bucket}")
    for file in content["files"]:
        data = root.get(file["key"]).data
        for row in _rows(content, data):
            if row.get("IsLatest", "true") != "true" or row.get("IsDeleteMarker") == "true":
                continue
            if row["Key"].startswith(prefix) and row["Key"] != prefix:
                yield _info(row, row["Key"].removeprefix(prefix))


def _manifest(place: S3Storage, name: str) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(place.get(name).data)
        schema = content["fileSchema"]
        known = content["fileFormat"] in ("CSV", "Parquet")
    except (ValueError, KeyError) as error:
        raise InputError(f"{place.url}/{name}: no manifest of an S3 Inventory ({error})") from error
    if not known:
        raise InputError(f"{place.url}/{name}: give an inventory as CSV or Parquet")
    if content["fileFormat"] == "CSV" and not {c.strip() for c in schema.split(",")} >= NEEDED:
        raise InputError(f"{place.url}/{name}: the inventory needs Key, Size and ETag")
    return content


def _rows(content: dict[str, Any], data: bytes) -> Iterator[dict[str, str]]:
    if content["fileFormat"] == "CSV":
        names = [name.strip() for name in content["fileSchema"].split(",")]
        with gzip.open(io.BytesIO(data), "rt", encoding="utf-8", newline="") as lines:
            for values in csv.reader(lines):
                row = dict(zip(names, values, strict=True))
                yield row | {"Key": unquote_plus(row["Key"])}
        return
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(io.BytesIO(data)).iter_batches():
        for found in batch.to_pylist():
            # Parquet's columns are in lower case with underscores: is_latest for IsLatest.
            plain = {name.replace("_", "").lower(): value for name, value in found.items()}
            row = {name: plain.get(name.lower()) for name in WANTED}
            yield {name: _text(value) for name, value in row.items() if value is not None}


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _info(row: dict[str, str], key: str) -> ObjectInfo:
    said = row.get("LastModifiedDate")
    modified = datetime.fromisoformat(said).timestamp() if said else 0.0
    return ObjectInfo(
        key,
        int(row["Size"] or 0),
        row["ETag"].strip('"'),
        modified=modified,
        storage_class=row.get("StorageClass", ""),
    )
