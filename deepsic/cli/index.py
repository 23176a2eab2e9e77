"""`deepsic index`: what many files show, in one file that other programs read."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from deepsic import atomic
from deepsic.bitstream import info
from deepsic.cli import files
from deepsic.cli.label_rows import rows_of
from deepsic.cli.report import Results, Row
from deepsic.errors import UsageError

__all__ = ["index"]


def index(*, sources: list[str], output: str, force: bool, json: bool) -> None:
    """Write what .sic files show to a table, from their first bytes; no model is loaded."""
    path = Path(output)
    form = _form_of(path)
    if path.exists() and not force:
        raise UsageError(f"{path} exists already; -f replaces it")
    found, rows = files.found(sources), list[Row]()
    with Results(len(found.files), json=json) as out:
        for source, _ in found.files:
            with out.item(str(source)):
                rows.append(_row(source))
        if rows:  # a damaged file costs its own row alone
            atomic.write(path, form(rows))
            written = {"target": str(path), "files": len(rows)}
            out.show(written, lambda row: f"{row['target']}: {row['files']:,} files")


def _row(source: Path) -> Row:
    facts = info(source)
    return {
        "file": str(source),
        "width": facts.width,
        "height": facts.height,
        "bytes": facts.bytes_total,
        "model": facts.model_id,
        "quality": facts.quality,
        **rows_of(facts.labels),
    }


def _form_of(path: Path) -> Callable[[Sequence[Row]], bytes]:
    forms = {".parquet": _parquet, ".json": _coco, ".jsonl": _lines}
    if path.suffix not in forms:
        raise UsageError(
            f"{path} has no form that is known: name it .parquet, .jsonl, or .json for COCO's boxes"
        )
    if path.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise UsageError("a .parquet index needs pyarrow; pip install pyarrow, or write .jsonl")
    return forms[path.suffix]


def _lines(rows: Sequence[Row]) -> bytes:
    """One JSON object a line."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _parquet(rows: Sequence[Row]) -> bytes:
    """A row for each file; its labels are a list, with boxes in shares of the sides."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    label = pa.struct(
        [
            ("name", pa.string()),
            ("wnid", pa.string()),
            ("probability", pa.float32()),
            ("box", pa.list_(pa.float32())),
        ]
    )
    kinds: dict[str, Any] = {"width": pa.int32(), "height": pa.int32(), "bytes": pa.int64()}
    kinds |= {"quality": pa.int32(), "certain": label, "labels": pa.list_(label)}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in rows[0]])
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema), buffer)
    return buffer.getvalue()


def _coco(rows: Sequence[Row]) -> bytes:
    """COCO's detection form: images, categories, and an annotation for each box, in pixels."""
    numbers: dict[str, int] = {}
    images: list[Row] = []
    annotations: list[Row] = []
    for number, row in enumerate(rows, 1):
        size = row["width"], row["height"]
        images.append({"id": number, "file_name": row["file"], "width": size[0], "height": size[1]})
        for label in row["labels"]:
            if "box" not in label:
                continue
            left, top, right, bottom = (
                share * side for share, side in zip(label["box"], size * 2, strict=True)
            )
            box = [round(value, 2) for value in (left, top, right - left, bottom - top)]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": numbers.setdefault(label["name"], len(numbers) + 1),
                    "bbox": box,
                    "area": round(box[2] * box[3], 2),
                    "iscrowd": 0,
                    "score": label["probability"],
                }
            )
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    whole = {"images": images, "categories": categories, "annotations": annotations}
    return json.dumps(whole).encode()
