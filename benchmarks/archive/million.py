"""A ledger of a million objects: what do resume, find and compaction take, 20 ms from the store?

    python benchmarks/archive/million.py --objects 250000 --objects 1000000 --out million.json

Rows and keys are synthetic, as a run over small images leaves them: a part for 128 objects. Each
in a process of its own, with imports, without Ray's start:

    compact   merging the parts
    resume    the listing joined with the ledger: a finished archive, nothing left to do
    find      a label that a hundred images have
    report    the archive in numbers
    mark      `verify --mark` where every output is gone: as much as can ever be marked. The ledger
              is in a folder for that, and the outputs are looked for in this process

Wall seconds, processor seconds of the client alone, its largest resident memory, and the slopes
between the sizes: microseconds and bytes a key.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks import options
from benchmarks.archive.scaling_keys import slopes
from pipelines.stage import console
from tests.support.s3_servers import CREDENTIALS
from tests.support.slow_store import ETAG, SIZE, slow_store

ROOT = Path(__file__).parents[2]
ARCHIVE, SOURCE = "s3://archive", "s3://source"
PART_ROWS = 128
LABELS, KINDS, RARE = 5, 999, 100
JOB = "0123456789abcdef"
FOLDER = "LEDGER_FOLDER"


def key(number: int) -> str:
    """A key like ImageNet's, in order."""
    return f"train/n{number // 1300:08d}/n{number:012d}.JPEG"


def fill(folder: Path, count: int) -> None:
    """A ledger of `count` ok rows, in parts as workers write them."""
    import pyarrow as pa

    from pipelines.archive.ledger import Ledger, row_schema
    from pipelines.archive.ledger.store import part_bytes
    from pipelines.storage import LocalStorage

    ledger = Ledger(LocalStorage(str(folder)))
    ledger.storage.create()
    dice = np.random.default_rng(1)
    rare = set(dice.choice(count, RARE, replace=False).tolist())
    label_type = row_schema().field("labels").type.value_type
    for begin in range(0, count, PART_ROWS):
        numbers = range(begin, min(begin + PART_ROWS, count))
        keys = [key(number) for number in numbers]
        digests = [hashlib.sha256(name.encode()).hexdigest() for name in keys]
        drawn = dice.integers(0, KINDS, (len(keys), LABELS))
        chances = np.sort(dice.random((len(keys), LABELS), dtype=np.float32))[:, ::-1]
        labels = [
            [
                {"name": f"label {kind}", "wnid": f"n{kind:08d}", "probability": float(chance)}
                for kind, chance in zip(kinds, chance_row, strict=True)
            ]
            for kinds, chance_row in zip(drawn, chances, strict=True)
        ]
        for number in rare.intersection(numbers):
            labels[number - begin][0] = {"name": "rare bird", "wnid": "n999", "probability": 0.9}
        columns: dict[str, Any] = {
            "source_key": keys, "source_etag": [ETAG] * len(keys),
            "source_size": [SIZE] * len(keys),
            "source_sha256": digests, "output_key": [f"{name}.sic" for name in keys],
            "output_sha256": digests[::-1], "output_size": dice.integers(4000, 9000, len(keys)),
            "width": [224] * len(keys), "height": [224] * len(keys), "bpp": dice.random(len(keys)),
            "labels": pa.array(labels, pa.list_(label_type)), "job": [JOB] * len(keys),
            "status": ["ok"] * len(keys), "kind": [""] * len(keys), "reason": [""] * len(keys),
            "attempt": [0] * len(keys), "worker": ["node:1"] * len(keys),
            "seconds": dice.random(len(keys), dtype=np.float32),
            "finished": [1_780_000_000_000_000 + number for number in numbers],
        }  # fmt: skip
        made = [
            pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(len(keys), f.type)
            for f in row_schema()
        ]
        table = pa.table(made, schema=row_schema())
        ledger.put(f"{begin:032d}.parquet", part_bytes(table))


def resume() -> int:
    """Objects left to do."""
    from pipelines.archive.ledger import Ledger
    from pipelines.archive.listing.pending import Pending
    from pipelines.archive.listing.selection import Selection
    from pipelines.archive.listing.spool import Spool
    from pipelines.storage import open_storage

    ledger = Ledger(open_storage(ARCHIVE), JOB)
    pending = Pending(source=open_storage(SOURCE), selection=Selection(), ledger=ledger)
    with Spool(pending.fill) as spool:
        while spool.take(wait=True) is not None:
            pass
    if spool.objects or not pending.already.ok:
        raise RuntimeError(f"{spool.objects} objects left, {pending.already.ok} done")
    return pending.already.ok


def find() -> int:
    """Images found."""
    from pipelines.archive.commands.find import find as find_images
    from pipelines.archive.ledger import Ledger
    from pipelines.storage import open_storage

    return find_images(Ledger(open_storage(ARCHIVE), JOB), "rare bird", 0.5).total


def report() -> int:
    """Images that are ok."""
    from pipelines.archive.commands.report import report_archive
    from pipelines.archive.ledger import Ledger
    from pipelines.storage import open_storage

    return report_archive(Ledger(open_storage(ARCHIVE), JOB)).status["ok"]


def compact() -> int:
    """Parts left."""
    from pipelines.archive.ledger import Ledger
    from pipelines.archive.ledger.compact import compact as compact_ledger
    from pipelines.storage import open_storage

    return compact_ledger(Ledger(open_storage(ARCHIVE), JOB)).after


def mark() -> int:
    """Outputs marked."""
    from unittest.mock import patch

    from benchmarks.archive.object_cost import in_this_process
    from pipelines.archive.cluster import Resources
    from pipelines.archive.commands import verify
    from pipelines.archive.ledger import Ledger
    from pipelines.storage import open_storage

    ledger = Ledger(open_storage(os.environ[FOLDER]), JOB)
    with patch.object(verify, "spread", in_this_process):
        return verify.verify_archive(ledger, Resources(), mark=True).marked


WORK = {"compact": compact, "resume": resume, "find": find, "report": report, "mark": mark}


def measured(name: str, environment: dict[str, str]) -> dict[str, Any]:
    """One figure, in a process of its own."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, __file__, "--one", name],
        env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found | {"seconds": round(time.monotonic() - began, 1)}


def _one(name: str) -> None:
    result = WORK[name]()
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = round(used.ru_utime + used.ru_stime, 1)
    print(json.dumps({"result": result, "cpu_seconds": cpu, "mb": round(used.ru_maxrss / 1e3)}))


def trial(count: int, seconds: float) -> list[dict[str, Any]]:
    """All figures of one size."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fill(folder, count)
        keys = [key(number) for number in range(count)]
        with slow_store(folder, keys, seconds) as endpoint:
            environment = os.environ | CREDENTIALS | {"AWS_ENDPOINT_URL": endpoint}
            environment |= {"PYTHONPATH": str(ROOT), FOLDER: name}
            for work in WORK:
                found = measured(work, environment)
                rows.append({"objects": count, "work": work} | found)
                console.say(str(rows[-1]))
    return rows


def fitted(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Slopes over the number of objects."""
    if len({row["objects"] for row in rows}) < 2:
        return {}
    return slopes(
        [row | {"kind": row["work"], "keys": row["objects"], "grown_mb": row["mb"]} for row in rows]
    )


def main(
    objects: Annotated[
        list[int] | None,
        typer.Option(min=1, metavar="N", help="Repeatable.  [default: 250000, 500000, 1000000]"),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0, metavar="S", help="Of each request.")] = 0.02,
    one: Annotated[str, typer.Option(hidden=True)] = "",
    out: options.Out = None,
) -> None:
    """Measure, print the table."""
    if one:
        _one(one)
        return
    rows = []
    for count in objects or [250_000, 500_000, 1_000_000]:
        rows += trial(count, seconds)
        options.keep(out, {"results": rows, "slopes": fitted(rows)})
    columns = ["objects", "work", "result", "seconds", "cpu_seconds", "mb"]
    console.table("Ledger", columns, [[row[name] for name in columns] for row in rows])
    if found := fitted(rows):
        head = list(next(iter(found.values())))
        console.table(
            "Slopes", ["", *head], [[work, *line.values()] for work, line in found.items()]
        )


if __name__ == "__main__":
    options.run(main)
