"""Does the archive job stay small as archives grow? Memory, and the time that a resume takes.

    python benchmarks/archive_scale.py --objects 1000 5000 20000 --json scale.json

Compresses so many photographs of 64 to 96 pixels from folder to folder with the command that users
run, samples the unique memory (USS) of the driver and of every worker, then runs the same command
again, which has nothing left to do.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.archive_faults import ROOT
from benchmarks.machine import clean_up_when_terminated, describe_run
from benchmarks.small_photos import make_pictures
from pipelines import console

SAMPLE_SECONDS = 1.0
MB = 1e6


def run_sampled(command: list[str]) -> tuple[float, float, float, float]:
    """(seconds, seconds of the job without Ray's start, driver's peak MB, a worker's peak MB)."""
    began = time.perf_counter()
    driver = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    own = psutil.Process(driver.pid)
    peaks = {"driver": 0.0, "worker": 0.0}
    while driver.poll() is None:
        with contextlib.suppress(psutil.Error):
            peaks["driver"] = max(peaks["driver"], own.memory_full_info().uss / MB)
            for process in own.children(recursive=True):
                if "ray::compress_chunk" in " ".join(process.cmdline()):
                    used = process.memory_full_info().uss / MB
                    peaks["worker"] = max(peaks["worker"], used)
        time.sleep(SAMPLE_SECONDS)
    seconds = time.perf_counter() - began
    said = driver.stderr.read().decode() if driver.stderr else ""
    if driver.returncode:
        raise RuntimeError(f"exit {driver.returncode}: {said[-3000:]}")
    own_seconds = re.findall(r'"seconds": ([\d.]+)', said)
    return seconds, float(own_seconds[-1]), peaks["driver"], peaks["worker"]


def main() -> int:
    """Parse, run, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--objects", type=int, nargs="+", default=[1000, 5000, 20000])
    parser.add_argument("--photos", type=Path, help="photographs to shrink; scikit-image's")
    parser.add_argument("--json", type=Path, help="write the results there as well")
    parser.add_argument(
        "--command",
        default=f"{sys.executable} {ROOT / 'pipelines' / 'compress_archive.py'}",
        help="what is run, with source and destination appended",
    )
    options = parser.parse_args()
    clean_up_when_terminated()
    os.environ.setdefault("PYTHONPATH", str(ROOT))
    os.environ.setdefault("DEEPSIC_OBJECT_STORE_MB", "200")
    results = []
    for count in options.objects:
        with tempfile.TemporaryDirectory() as name:
            source, archive = Path(name, "source"), Path(name, "archive")
            make_pictures(source, count, options.photos)
            command = [*shlex.split(options.command), str(source), str(archive)]
            seconds, job, driver, worker = run_sampled(command)
            resume, resume_job, resume_driver, _ = run_sampled(command)
        results.append(
            {
                "objects": count,
                "seconds": seconds,
                "job_seconds": job,
                "driver_mb": driver,
                "worker_mb": worker,
                "resume_seconds": resume,
                "resume_job_seconds": resume_job,
                "resume_driver_mb": resume_driver,
            }
        )
        console.say(str(results[-1]))
    columns = list(results[0])
    console.table("Scale", columns, [[row[name] for name in columns] for row in results])
    if options.json:
        options.json.write_text(json.dumps(describe_run() | {"results": results}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
