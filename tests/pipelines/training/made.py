"""Prepared pictures without Ray: shards and manifest as `preprocess.py` would leave them."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.manifest import MANIFEST, Manifest, Shard
from pipelines.preparing.files import find_files
from pipelines.preparing.policy import Policy, Source
from pipelines.preparing.shards import ShardJob, make_shard, shard_key

CLASSES = ("n01440764", "n03888257")


def class_folders(folder: Path, each: int = 6, side: int = 224) -> Path:
    """Two classes of Imagenette, one bright and one dark."""
    rng = np.random.default_rng(0)
    for name, light in zip(CLASSES, (60, 190), strict=True):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            pixels = np.clip(rng.normal(light, 15, (side, side, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def prepared(source: Path, out: Path, *, a_shard: int = 5) -> str:
    """A version made of a folder; its place."""
    policy, sources = Policy(pictures_a_shard=a_shard), (Source(url=str(source)),)
    listed = find_files(sources)
    job = ShardJob(out=str(out), sources=sources, policy=policy, classes=tuple(listed.classes))
    out.mkdir(parents=True)
    files = listed.files
    chunks = [files[at : at + a_shard] for at in range(0, len(files), a_shard)]
    reports = [make_shard(job, number, chunk) for number, chunk in enumerate(chunks)]
    labels: Counter[str] = Counter()
    for report in reports:
        labels.update(report["labels"])
    manifest = Manifest(
        version="test",
        source_hash=listed.hash,
        settings={"policy": asdict(policy), "sources": [asdict(s) for s in sources]},
        classes=listed.classes,
        counts={
            "files": len(files),
            "pictures": sum(r["pictures"] for r in reports),
            "quarantined": sum(len(r["quarantine"]) for r in reports),
        },
        class_counts=dict(labels),
        shards=[Shard(key=shard_key(n), pictures=r["pictures"], sha256=r["sha256"])
                for n, r in enumerate(reports)],
    )  # fmt: skip
    (out / MANIFEST).write_text(manifest.to_json())
    return str(out)
