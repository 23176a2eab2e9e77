"""What the commands have in common: a model, its identity, Ray, and a job made of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deepsic.bitstream import VERSION
from deepsic.limits import DEFAULT_LIMITS
from pipelines import console
from pipelines.archive.cluster import RETRIES, Resources
from pipelines.archive.commands import demo
from pipelines.archive.commands.estimate import Estimate, estimate_job
from pipelines.archive.commands.restore import Restored, restore_archive
from pipelines.archive.job import Summary, check_apart, run_job
from pipelines.archive.settings import JobSettings, check_target
from pipelines.archive.work.check import Check, Verify
from pipelines.archive.work.chunk import ArchiveJob
from pipelines.archive.work.codec import ModelSource
from pipelines.runtime import RuntimeOptions, ray_runtime
from pipelines.storage import Storage, open_storage

__all__ = ["Request", "demonstrate", "estimate", "restore_all", "work"]

#: Share of a GPU that one task takes: the net is small, and the entropy codec works on a CPU.
GPU_SHARE = 0.25
DEMO = Path("out")
DEMO_LABELER = "efficientnet-lite0"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the command line asked for."""

    model: ModelSource
    target: dict[str, Any]
    check: Check
    seconds_per_picture: float
    max_failures: int | None
    retry_failed: bool

    def __post_init__(self) -> None:
        check_target(**self.target)
        if self.model.refine_for:
            from deepsic.tasks import check_classifier

            for name in self.model.refine_for:
                check_classifier(name)


@contextmanager
def _cluster(device: str) -> Iterator[Resources]:
    """Ray, and what a task takes of it: a share of a GPU where there are GPUs."""
    # Else Ray starts a task that was killed for lack of memory again for ever.
    os.environ.setdefault("RAY_task_oom_retries", str(RETRIES))
    with ray_runtime(RuntimeOptions(data=False)) as where:
        console.say(where)
        import ray

        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        gpus = GPU_SHARE if device == "cuda" or (device == "auto" and "GPU" in resources) else 0
        yield Resources(gpus=gpus)


def _job(
    request: Request, source: Storage, destination: Storage, resources: Resources
) -> ArchiveJob:
    model = request.model.on("cuda" if resources.gpus else "cpu")
    settings = JobSettings(
        model=model.model,
        model_id=model.identity(),
        format_version=VERSION,
        labeler=model.labeler,
        top=model.top,
        refine_for=model.refine_for,
        **request.target,
    )
    return ArchiveJob(
        source=source,
        destination=destination,
        settings=settings,
        codec=model,
        check=request.check,
        limits=model.limits or DEFAULT_LIMITS,
        seconds_per_picture=request.seconds_per_picture,
    )


def work(request: Request, source: Storage, destination: Storage) -> Summary:
    """Run the job. Raises what `run_job` raises; addresses are checked before Ray starts."""
    check_apart(source, destination)
    request.model.identity()  # before Ray starts, which takes a while
    source.check()
    destination.create()
    with _cluster(request.model.device) as resources:
        job = _job(request, source, destination, resources)
        return run_job(
            job, resources, retry_failed=request.retry_failed, max_failures=request.max_failures
        )


def estimate(request: Request, source: Storage, destination: str) -> Estimate:
    """Estimate the job from a sample."""
    source.check()
    with _cluster(request.model.device) as resources:
        return estimate_job(_job(request, source, open_storage(destination), resources), resources)


def restore_all(
    archive: Storage, out: Storage, model: ModelSource, model_id: str, *, force: bool
) -> Restored:
    """Decode an archive."""
    check_apart(archive, out)
    with _cluster(model.device) as resources:
        source = model.on("cuda" if resources.gpus else "cpu")
        return restore_archive(archive, out, source, model_id, resources, force=force)


def demonstrate(request: Request) -> list[str]:
    """Compress scikit-image's photographs into ./out, decode them, and draw both; what was made."""
    if request.model.labeler is None:
        request = replace(request, model=replace(request.model, labeler=DEMO_LABELER))
    originals, decoded, picture = DEMO / "originals", DEMO / "decoded", DEMO / "comparison.png"
    demo.gather_photographs(originals)
    with _cluster(request.model.device) as resources:
        check = Check(verify=Verify.DECODE, psnr_floor=request.check.psnr_floor)
        draft = _job(request, open_storage(str(originals)), open_storage(str(DEMO)), resources)
        # A folder for each choice of settings, so that the demonstration can be run with others.
        archive = open_storage(str(DEMO / f"archive-{draft.settings.job_id}"))
        job = ArchiveJob(**(vars(draft) | {"destination": archive, "check": check}))
        run_job(job, resources)
        out = open_storage(str(decoded / draft.settings.job_id))
        restore_archive(archive, out, job.codec, job.settings.model_id, resources)
    demo.photograph_table(archive.url)
    demo.comparison(originals, archive.url, Path(out.url), picture)
    return [archive.url, str(picture.resolve())]
