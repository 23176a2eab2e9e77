"""Does the archive job stay small as archives grow? Memory, and the time that a resume takes.

    python benchmarks/archive/scale.py --objects 1000 --objects 20000 --out scale.json

Compresses so many photographs of 64 to 96 pixels from folder to folder with the command that users
run, samples the unique memory (USS) of the driver and of every worker, then runs the same command
again, which has nothing left to do. Each time the command says how far it is, the largest sample
since the last time is shown: how memory grows within a run. With `--work FOLDER`, a run that was
killed goes on at the next call.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import psutil
import typer

from benchmarks import options
from benchmarks.archive.faults import ROOT
from benchmarks.archive.small_photos import COMMAND, Command, Photos, Work, make_images
from pipelines.stage import console

SAMPLE_SECONDS = 1.0
MB = 1e6


@dataclass(kw_only=True)
class ScaleRun:
    """One run of the command."""

    seconds: float = 0.0
    job_seconds: float = 0.0
    """Without Ray's start."""
    samples: list[tuple[int, float, float]] = field(default_factory=list)
    """(objects done, peak MB of the driver, of a worker) between two lines of progress."""

    def peak(self, column: int) -> float:
        """The largest sample."""
        return max((sample[column] for sample in self.samples), default=0.0)


def run_sampled(command: list[str]) -> ScaleRun:
    """Run the command; raise `RuntimeError` when it fails."""
    run = ScaleRun()
    began = time.perf_counter()
    driver = subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        lines = _follow(driver, run)
    finally:
        driver.kill()
    if driver.wait():
        raise RuntimeError(f"exit {driver.returncode}: {lines[-20:]}")
    run.seconds = time.perf_counter() - began
    return run


def _follow(driver: subprocess.Popen[str], run: ScaleRun) -> list[str]:
    """Read progress to its end, while a thread samples; all lines."""
    peaks = {"driver": 0.0, "worker": 0.0}
    done = threading.Event()
    sampler = threading.Thread(target=_sample, args=(driver.pid, peaks, done))
    sampler.start()
    lines = []
    for line in driver.stderr or ():
        lines.append(line)
        if line.startswith("{"):
            progress = json.loads(line)
            run.job_seconds = progress["seconds"]
            run.samples.append((progress["done"], peaks["driver"], peaks["worker"]))
            peaks.update(driver=0.0, worker=0.0)
            console.say("{} objects: driver {:.0f} MB, worker {:.0f} MB".format(*run.samples[-1]))
    done.set()
    sampler.join()
    return lines


def _sample(pid: int, peaks: dict[str, float], done: threading.Event) -> None:
    while not done.wait(SAMPLE_SECONDS):
        with contextlib.suppress(psutil.Error):
            own = psutil.Process(pid)
            peaks["driver"] = max(peaks["driver"], own.memory_full_info().uss / MB)
            for process in own.children(recursive=True):
                if "ray::compress_chunk" in " ".join(process.cmdline()):
                    used = process.memory_full_info().uss / MB
                    peaks["worker"] = max(peaks["worker"], used)


def main(
    objects: Annotated[
        list[int] | None,
        typer.Option(min=1, metavar="N", help="Repeatable.  [default: 1000, 5000, 20000]"),
    ] = None,
    photos: Photos = None,
    work: Work = None,
    command: Command = COMMAND,
    out: options.Out = None,
) -> None:
    """Run, print the table."""
    os.environ.setdefault("PYTHONPATH", str(ROOT))
    os.environ.setdefault("DEEPSIC_OBJECT_STORE_MB", "200")
    results, samples = [], []
    for count in objects or [1000, 5000, 20000]:
        with tempfile.TemporaryDirectory() as name:
            folder = (work or Path(name)) / str(count)
            source, archive = folder / "source", folder / "archive"
            make_images(source, count, photos)
            line = [*shlex.split(command), str(source), str(archive)]
            run, resume = run_sampled(line), run_sampled(line)
        results.append(
            {
                "objects": count,
                "seconds": run.seconds,
                "job_seconds": run.job_seconds,
                "driver_mb": run.peak(1),
                "worker_mb": run.peak(2),
                "resume_seconds": resume.seconds,
                "resume_job_seconds": resume.job_seconds,
                "resume_driver_mb": resume.peak(1),
            }
        )
        samples.append(run.samples)
        console.say(str(results[-1]))
    columns = list(results[0])
    console.table("Scale", columns, [[row[name] for name in columns] for row in results])
    options.keep(out, {"results": results, "samples": samples})


if __name__ == "__main__":
    options.run(main)
