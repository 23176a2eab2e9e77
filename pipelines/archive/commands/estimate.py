"""What a job would make and take, from a sample of its source. Writes nothing."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable
from dataclasses import dataclass

from pipelines.archive.cluster import Resources, spread
from pipelines.archive.listing.chunks import Item
from pipelines.archive.listing.selection import Selection
from pipelines.archive.work.check import Check, Verify
from pipelines.archive.work.chunk import ArchiveJob
from pipelines.archive.work.codec import checked_codec, warm_up
from pipelines.archive.work.encoder import Encoder
from pipelines.archive.work.images import SourceFacts, SourceImage, open_image, refuse_unread
from pipelines.archive.work.timing import time_limits
from pipelines.storage import ObjectInfo

__all__ = ["Estimate", "estimate_job", "sample"]

SAMPLE = 32
SEED = 1


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Totals scaled up from a sample by bytes."""

    objects: int
    bytes_in: int
    sampled: int
    sampled_ok: int
    bytes_out: int
    """Expected."""
    hours: float
    """Expected, on the cluster as it is now."""


@dataclass(frozen=True)
class _Trial:
    ok: bool
    bytes_in: int
    bytes_out: int
    seconds: float


def sample(listing: Iterable[ObjectInfo], count: int) -> tuple[list[ObjectInfo], int, int]:
    """(a uniform sample, number of objects, their bytes) of a listing of any length."""
    chosen: list[ObjectInfo] = []
    dice = random.Random(SEED)
    objects = size = 0
    for info in listing:
        objects += 1
        size += info.size
        if len(chosen) < count:
            chosen.append(info)
        elif (place := dice.randrange(objects)) < count:
            chosen[place] = info
    return chosen, objects, size


def estimate_job(
    job: ArchiveJob, resources: Resources, selection: Selection, count: int = SAMPLE
) -> Estimate:
    """List the source, compress a sample in memory, and scale up. Ray runs already."""
    job.source.check()
    listing = selection.list(job.source, "", None)
    chosen, objects, size = sample(listing, count)
    waiting = iter(chosen)
    results = [r for _, r in spread(_try, job, lambda wait: next(waiting, None), resources)]
    trials = [trial for trial in results if trial is not None]
    seen = sum(trial.bytes_in for trial in trials)
    scale = size / seen if seen else 0.0
    return Estimate(
        objects=objects,
        bytes_in=size,
        sampled=len(chosen),
        sampled_ok=sum(trial.ok for trial in trials),
        bytes_out=round(scale * sum(trial.bytes_out for trial in trials)),
        hours=scale * sum(trial.seconds for trial in trials) / resources.slots() / 3600,
    )


def _try(job: ArchiveJob, info: ObjectInfo) -> _Trial:
    codec = checked_codec(job.codec, job.settings.model_id)
    warm_up(codec, decodes=False)
    began = time.perf_counter()
    try:
        refuse_unread(Item(info), job.limits)
        data = job.source.get(info.key).data
        image = open_image(info.key, data, job.limits)
    except Exception:  # counted as not ok; the job itself will say why
        return _Trial(False, info.size, 0, time.perf_counter() - began)
    facts = SourceFacts(Item(info), info.etag, len(data), "", *image.size)
    with time_limits(job.seconds_per_image) as limit:
        encoder = Encoder(codec, job.settings, limit, Check(verify=Verify.NONE))
        (made,) = encoder.encode([SourceImage(facts, image)])
    seconds = time.perf_counter() - began
    return _Trial(made.error is None, info.size, len(made.blob), seconds)
