"""The six stages as small pieces of work on a cluster, and what each of them must leave in S3."""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.cluster.kit import BUCKET, LocalCluster, wait_until
from tests.support.hosts import HOSTS

__all__ = ["PHOTOS", "TINY", "TimedStage", "kept", "listing", "serve_file", "stages", "upload",
           "written"]  # fmt: skip

PHOTOS, TINY = f"s3://{BUCKET}/photos", f"s3://{BUCKET}/tiny"
PORT = 8000
TRIALS = 2
CHECKPOINT_SECONDS = 10
"""Between two checkpoints of a training."""


def photograph(number: int) -> bytes:
    """A 192x160 piece of a photograph that scikit-image ships, as PNG."""
    import skimage.data

    name = ("astronaut", "chelsea", "coffee", "rocket")[number % 4]
    pixels = np.asarray(getattr(skimage.data, name)())[..., :3]
    dice = np.random.default_rng(number)
    top, left = (
        int(dice.integers(0, n - s)) for n, s in zip(pixels.shape, (160, 192), strict=False)
    )
    return _png(Image.fromarray(pixels[top : top + 160, left : left + 192]))


def tiny(number: int) -> bytes:
    """A 32x24 image that differs with its number, as PNG."""
    noise = np.random.default_rng(number).integers(0, 255, (3, 4, 3), dtype=np.uint8)
    return _png(Image.fromarray(noise).resize((32, 24), Image.Resampling.BICUBIC))


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def upload(prefix: str, count: int, make: Callable[[int], bytes], *, damaged: int = 0) -> None:
    """`count` images below a prefix, in ten folders, the last `damaged` of them unreadable."""
    import boto3

    client = boto3.client("s3")

    def put(number: int) -> None:
        body = make(number) if number < count - damaged else b"no image at all"
        client.put_object(Bucket=BUCKET, Key=f"{prefix}/{number % 10}/{number:06d}.png", Body=body)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(count)))


def listing(prefix: str) -> dict[str, str]:
    """Key -> ETag of all objects below a prefix."""
    return {key: entry["ETag"] for key, entry in _entries(prefix).items()}


def written(prefix: str) -> dict[str, float]:
    """Key -> when it was written, seconds since 1970, of all objects below a prefix."""
    return {key: entry["LastModified"].timestamp() for key, entry in _entries(prefix).items()}


def _entries(prefix: str) -> dict[str, Any]:
    import boto3

    pages = boto3.client("s3").get_paginator("list_objects_v2")
    return {
        entry["Key"].removeprefix(f"{prefix}/"): entry
        for page in pages.paginate(Bucket=BUCKET, Prefix=f"{prefix}/")
        for entry in page.get("Contents", ())
    }


def kept(prefix: str) -> str:
    """A hash of the names and bytes below a prefix that must not depend on who did the work.

    Ledger rows name worker and seconds, so of the ledger only the names of its parts count.
    """
    found = {
        key: "" if ".deepsic/ledger" in key or key.startswith("reports/") else tag
        for key, tag in listing(prefix).items()
    }
    digest = hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:16]
    return f"{len(found)} objects, {digest}"


@dataclass(frozen=True, kw_only=True)
class TimedStage:
    """One stage: its command, and what to look at when it has ended."""

    name: str
    command: str
    outcome: Callable[[LocalCluster, str], str]
    """Takes the cluster and the log; says what came of it in a line; raises when it is wrong."""


def stages(
    run: str = "a", *, steps: int = 30, epoch: int = 15, workers: int = 2, limit: int = 3
) -> list[TimedStage]:
    """All stages but serving; `run` keeps their outputs apart.

    Args:
        steps, epoch, workers: of the training.
        limit: images to evaluate.
    """
    return [
        TimedStage(
            name="preprocess",
            command=f"python pipelines/preprocess.py {PHOTOS} --out s3://{BUCKET}/prepared-{run} "
            "--shard-images 4",
            outcome=lambda cluster, log: kept(f"prepared-{run}"),
        ),
        TimedStage(
            name="train",
            command=f"python pipelines/train.py small --data s3://{BUCKET}/prepared-{run} "
            f"--crops.0.batch 2 --stages.0.steps {steps // 2} --stages.1.steps {steps // 2} "
            f"--epoch-steps {epoch} --checkpoint-seconds {CHECKPOINT_SECONDS} "
            f"--workers {workers} "
            f"--storage s3://{BUCKET}/train-{run} --export runs/{run}.safetensors",
            outcome=lambda cluster, log: _trained(cluster, run),
        ),
        TimedStage(
            name="tune",
            command=f"python pipelines/tune_saic.py --trials {TRIALS} --steps 1 --rungs 1 "
            f"--batch 1 --concurrent 2 --storage s3://{BUCKET}/tune-{run}",
            outcome=lambda cluster, log: _tuned(cluster),
        ),
        TimedStage(
            name="evaluate",
            command=f"python pipelines/evaluate.py {PHOTOS} --out runs/evaluate-{run} --codec sic "
            f"--codec jpeg --no-ladder --bpp 0.5 --limit {limit} --crops 0",
            outcome=lambda cluster, log: _evaluated(cluster, run),
        ),
        TimedStage(
            name="archive",
            command=f"python pipelines/compress_archive.py {TINY} s3://{BUCKET}/archive-{run}",
            outcome=lambda cluster, log: kept(f"archive-{run}"),
        ),
    ]


def _trained(cluster: LocalCluster, run: str) -> str:
    size = cluster.on_head(f"stat -c %s runs/{run}.safetensors").check().log.strip()
    found = [key for key in listing(f"train-{run}") if key.endswith("state.pt")]
    return f"model of {size} bytes; checkpoints kept: {len(found)}"


def _tuned(cluster: LocalCluster) -> str:
    printed = cluster.on_head("cat runs/tune/*/trials.json").check().log
    trials: list[Any] = json.loads(printed)
    if len(trials) != TRIALS:
        raise RuntimeError(f"{len(trials)} of {TRIALS} trials: {printed}")
    made = cluster.on_head("ls runs/tune/*/best.safetensors").check()
    return f"{len(trials)} trials, {made.log.strip()}"


def _evaluated(cluster: LocalCluster, run: str) -> str:
    printed = cluster.on_head(f"wc -l < runs/evaluate-{run}/results.jsonl; ls runs/evaluate-{run}")
    return " ".join(printed.check().log.split())


def serve_file(cluster: LocalCluster, *, replicas: int = 2) -> float:
    """Deploy pipelines/serve.yaml with a fixed number of replicas; seconds until it is ready."""
    import httpx

    began = time.monotonic()
    line = (
        r"sed -E 's/(min|max)_replicas: [0-9]+/\1_replicas: " + str(replicas) + r"/' "
        "pipelines/serve.yaml > /tmp/serve.yaml && serve deploy -a http://127.0.0.1:8265 "
        "/tmp/serve.yaml"
    )
    cluster.on_head(line).check()
    url = f"http://{HOSTS['head']}:{PORT}/readyz"

    def ready() -> bool:
        try:
            return httpx.get(url, timeout=5).is_success
        except httpx.HTTPError:
            return False

    wait_until("the service", 240, ready)
    return time.monotonic() - began
