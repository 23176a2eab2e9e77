"""What the commands have in common: a model, its identity, Ray, and a job made of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deepsic.bitstream import VERSION
from deepsic.errors import UsageError
from deepsic.limits import DEFAULT_LIMITS
from pipelines.archive.cluster import RETRIES, Resources
from pipelines.archive.commands import demo
from pipelines.archive.commands.estimate import Estimate, estimate_job
from pipelines.archive.commands.restore import Restored, RestoreOptions, restore_archive
from pipelines.archive.commands.verify import Verified, verify_archive
from pipelines.archive.job import RunOptions, Summary, check_apart, nothing_found, run_job
from pipelines.archive.ledger import Ledger
from pipelines.archive.listing.selection import Selection, open_source
from pipelines.archive.settings import JobSettings, check_target
from pipelines.archive.work.beside import Beside
from pipelines.archive.work.check import Check, Verify
from pipelines.archive.work.chunk import ArchiveJob
from pipelines.archive.work.codec import ModelSource
from pipelines.stage import console
from pipelines.stage.preflight import check_resources
from pipelines.stage.runtime import RuntimeOptions, ray_runtime
from pipelines.storage import LocalStorage, Storage, open_storage

__all__ = ["Request", "demonstrate", "estimate", "restore_all", "verify_all", "work"]

#: Share of a GPU that one task takes: the net is small, and the entropy codec works on a CPU.
GPU_SHARE = 0.25
#: CPUs of a task that waits for a store: two share a core, so that one encodes while one waits.
CPUS_FAR = 0.5
DEMO = Path("out")


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the command line asked for."""

    model: ModelSource
    target: dict[str, Any]
    check: Check = Check()  # noqa: RUF009 frozen
    seconds_per_image: float = 60.0
    overwrite: bool = False
    beside: Beside = Beside()  # noqa: RUF009 frozen
    run: RunOptions = RunOptions()  # noqa: RUF009 frozen
    cpus: float | None = None
    """CPUs of one task; None: 1, or `CPUS_FAR` where a store is far away."""

    def __post_init__(self) -> None:
        check_target(**self.target)
        self.model.check()
        if self.cpus is not None and not 0 < self.cpus <= 1024:
            raise UsageError(f"--cpus-per-task {self.cpus:g} must be above 0 and at most 1024")


@contextmanager
def _cluster(device: str, cpus: float = 1) -> Iterator[Resources]:
    """Ray, and what a task takes of it: a share of a GPU where there are GPUs."""
    # Else Ray starts a task that was killed for lack of memory again for ever.
    os.environ.setdefault("RAY_task_oom_retries", str(RETRIES))
    with ray_runtime(RuntimeOptions(data=False)) as where:
        console.say(where)
        import ray

        have: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        gpus = GPU_SHARE if device == "cuda" or (device == "auto" and "GPU" in have) else 0
        check_resources(cpus=cpus, gpus=gpus)
        yield Resources(cpus=cpus, gpus=gpus)


def _cpus(request: Request, *stores: Storage) -> float:
    if request.cpus is not None:
        return request.cpus
    return 1 if all(isinstance(store, LocalStorage) for store in stores) else CPUS_FAR


def _job(
    request: Request, source: Storage, origin: str, destination: Storage, resources: Resources
) -> ArchiveJob:
    model = request.model.on("cuda" if resources.gpus else "cpu")
    settings = JobSettings(
        model=model.model,
        model_id=model.identity(),
        format_version=VERSION,
        tune=model.tuned(),
        effort=model.effort,
        labeler=model.labeler,
        top=model.top,
        refine_for=model.refine_for,
        refine_steps=model.refine_steps,
        **request.target,
    )
    return ArchiveJob(
        source=source,
        destination=destination,
        settings=settings,
        origin=origin,
        codec=model,
        check=request.check,
        limits=model.limits or DEFAULT_LIMITS,
        seconds_per_image=request.seconds_per_image,
        overwrite=request.overwrite,
        beside=request.beside,
    )


def work(request: Request, source_url: str, destination: Storage) -> Summary:
    """Run the job. Raises what `run_job` raises; both addresses are tried before Ray starts."""
    request.model.identity()  # before Ray starts, which takes a while
    source, selection, origin = open_source(source_url)
    check_apart(source, destination)
    run = _selected(request, selection)
    if not run.allow_empty and run.selection == Selection() and not any(source.list()):
        raise nothing_found(origin)
    destination.create()
    with _cluster(request.model.device, _cpus(request, source, destination)) as resources:
        return run_job(_job(request, source, origin, destination, resources), resources, run)


def _selected(request: Request, found: Selection) -> RunOptions:
    """The run's options, with the one object that the address names."""
    if found.only is None:
        return request.run
    chosen = replace(request.run.selection, only=found.only)
    return replace(request.run, selection=chosen)


def estimate(request: Request, source_url: str, destination: str) -> Estimate:
    """Estimate the job from a sample."""
    source, selection, origin = open_source(source_url)
    run, target = _selected(request, selection), open_storage(destination)
    with _cluster(request.model.device, _cpus(request, source, target)) as resources:
        job = _job(request, source, origin, target, resources)
        return estimate_job(job, resources, run.selection)


def restore_all(
    ledger: Ledger, out: Storage, model: ModelSource, model_id: str, options: RestoreOptions
) -> Restored:
    """Decode an archive."""
    check_apart(ledger.storage, out)
    with _cluster(model.device) as resources:
        source = model.on("cuda" if resources.gpus else "cpu")
        return restore_archive(ledger, out, source, model_id, resources, options)


def verify_all(ledger: Ledger, *, mark: bool) -> Verified:
    """Check an archive; needs no model and no GPU."""
    with _cluster("cpu", CPUS_FAR) as resources:
        return verify_archive(ledger, resources, mark=mark)


def demonstrate(request: Request) -> list[str]:
    """Compress scikit-image's photographs into ./out, decode them, and draw both; what was made."""
    originals, decoded, image = DEMO / "originals", DEMO / "decoded", DEMO / "comparison.png"
    demo.gather_photographs(originals)
    with _cluster(request.model.device) as resources:
        check = Check(verify=Verify.DECODE, psnr_floor=request.check.psnr_floor)
        source, here = open_storage(str(originals)), open_storage(str(DEMO))
        draft = _job(request, source, source.url, here, resources)
        # A folder for each choice of settings, so that the demonstration can be run with others.
        archive = open_storage(str(DEMO / f"archive-{draft.settings.job_id}"))
        job = ArchiveJob(**(vars(draft) | {"destination": archive, "check": check}))
        run_job(job, resources)
        out = open_storage(str(decoded / draft.settings.job_id))
        restore_archive(Ledger(archive), out, job.codec, job.settings.model_id, resources)
    demo.photograph_table(archive.url)
    demo.comparison(originals, archive.url, Path(out.url), image)
    return [archive.url, str(image.resolve())]
