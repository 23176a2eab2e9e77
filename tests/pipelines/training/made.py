"""Prepared images without Ray: shards and manifest as `preprocess.py` would leave them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.manifest import MANIFEST
from pipelines.preparing.files import find_files
from pipelines.preparing.job import manifest_of, tasks_of
from pipelines.preparing.policy import DataSource, Policy
from pipelines.preparing.shards import ShardJob, make_shards

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
    policy, sources = Policy(pictures_a_shard=a_shard), (DataSource(url=str(source)),)
    listed = find_files(sources)
    job = ShardJob(out=str(out), sources=sources, policy=policy)
    out.mkdir(parents=True)
    tasks = tasks_of(listed.files, a_shard)
    reports = [make_shards(job, number, files) for number, files in enumerate(tasks)]
    (out / MANIFEST).write_text(manifest_of("test", listed, job, reports).to_json())
    return str(out)
