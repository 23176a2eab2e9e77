"""Parquet files with encoded images, as data hubs hand them around: row groups, never the whole.

The image is a binary column, or a struct with `bytes` and `path`; the label a number or text.
Names of classes are taken from the `huggingface` entry of the file's metadata where it has one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import IO, Any

from deepsic.errors import InputError, LimitError
from deepsic.limits import Limits
from pipelines.preparing.samples import Sample, class_name

__all__ = ["PARQUET_SUFFIXES", "parquet_samples"]

PARQUET_SUFFIXES = (".parquet",)
_IMAGES = ("image", "img", "jpg", "jpeg", "png", "webp", "image_bytes", "bytes", "data")
_LABELS = ("label", "cls", "class", "class_name", "target", "labels", "fine_label")
_NAMES = ("__key__", "key", "path", "file_name", "filename", "name", "id")
_ROWS = 64
"""That are in memory at a time."""


def parquet_samples(
    file: IO[bytes], key: str, names: Sequence[str], limits: Limits
) -> Iterator[Sample | Exception]:
    """Samples of a Parquet file in its order; errors that concern one row in its place.

    Args:
        key: the file's own, which the samples' keys begin with.
        names: of the classes that come as numbers; the file's own if empty.

    Raises:
        InputError: the file is damaged, from there on; or no column holds images.
        OSError: the store fails.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        table = pq.ParquetFile(file)
        schema = table.schema_arrow
        image = _image_column(schema, key)
        label = next((name for name in _LABELS if name in schema.names), None)
        called = next((name for name in _NAMES if name in schema.names and name != image), None)
        names = names or _names_inside(schema, label)
        columns = [name for name in (image, label, called) if name]
        for batch in table.iter_batches(batch_size=_ROWS, columns=columns):
            for row in batch.to_pylist():
                yield _sample(row, (image, label, called), f"{key}/{number:08d}", names, limits)
                number += 1
    except (pa.ArrowException, OSError, ValueError) as error:
        file.seek(0)
        file.read(1)  # raises again where it is the store that fails, not the file
        raise InputError(f"{key} is damaged after {number} rows ({error}): copy it anew") from None


def _sample(
    row: dict[str, Any],
    columns: tuple[str, str | None, str | None],
    key: str,
    names: Sequence[str],
    limits: Limits,
) -> Sample | Exception:
    image, label, called = columns
    cell = row[image]
    data, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (cell, None)
    name = path or (row[called] if called else None)
    full = f"{key}-{str(name).rpartition('/')[2]}" if name else key
    if data is None:
        return InputError(f"{full}: the row has no image bytes")
    if len(data) > limits.max_input_bytes:
        return LimitError(f"{full} has {len(data):,} bytes")
    try:
        return Sample(
            key=full, data=data, class_name=class_name(row[label], names) if label else ""
        )
    except InputError as error:
        return InputError(f"{full}: {error}")


def _image_column(schema: Any, key: str) -> str:
    import pyarrow.types as types

    def holds_bytes(kind: Any) -> bool:
        if types.is_struct(kind):
            return any(field.name == "bytes" for field in kind)
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    for name in _IMAGES:
        if name in schema.names and holds_bytes(schema.field(name).type):
            return name
    raise InputError(
        f"{key} has no column with image bytes; its columns are {', '.join(schema.names)}, and "
        f"one of {', '.join(_IMAGES)} is looked for"
    )


def _names_inside(schema: Any, label: str | None) -> list[str]:
    """Names of the numbers in a label column, as `datasets` writes them; empty if it didn't."""
    try:
        stated = json.loads((schema.metadata or {})[b"huggingface"])
        names = stated["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError):
        return []
    return [str(name) for name in names]
