"""A host dies during each stage: does the stage end as if nothing had happened?

    python benchmarks/cluster_faults.py --venv .venv --json cluster_faults.json
    python benchmarks/cluster_faults.py --venv .venv --only preprocess archive

Three hosts as in `cluster_stages.py`. For every stage: an undisturbed run, then the same into
another place, and once it is well under way a worker host is killed (its cable pulled, all its
processes ended). The host comes back afterwards, and Ray's autoscaler starts it again.

    preprocess, archive   the same objects with the same bytes as undisturbed
    train                 steps lost between the kill and where it went on
    tune                  all trials accounted for
    serve                 requests that failed once, and after the client asked again
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.cluster_kit import Job, LocalCluster, end_on_sigterm, s3_server, wait_until
from benchmarks.cluster_work import (
    PORT,
    Stage,
    kept,
    last_step,
    listing,
    photograph,
    serve_file,
    stages,
    tiny,
    upload,
)
from benchmarks.hosts import HOSTS, ROOT, Hosts, missing
from benchmarks.machine import describe_run
from pipelines import console

__all__ = ["Faults"]

CLIENTS = 3
SERVE_SECONDS = 120.0


class Faults:
    """Kills hosts of one cluster; each method gives what it found."""

    def __init__(self, hosts: Hosts, cluster: LocalCluster) -> None:
        self.hosts, self.cluster = hosts, cluster

    def preprocess(self) -> dict[str, Any]:
        """Identical output set."""
        return self._same_set("preprocess", lambda: len(listing("prepared-x")) >= 2)

    def archive(self) -> dict[str, Any]:
        """Identical output set."""
        return self._same_set("archive", lambda: len(listing("archive-x")) >= 40)

    def train(self) -> dict[str, Any]:
        """Goes on within one checkpoint interval."""
        if not listing("prepared-a"):
            self.cluster.job(stage_of("preprocess", "a").command)
        stage = stage_of("train", "x")
        command = stage.command.replace("prepared-x", "prepared-a").replace(
            "--steps 60", "--steps 120"
        )
        job = self.cluster.submit(command)
        wait_until("two checkpoints", 400, lambda: checkpoints("train-x") >= 2 or job.ended())
        victim = self._busy("RayTrainWorker", job)
        at = last_step(job.text())
        self.hosts.kill(victim)
        done = job.wait().check()
        again = [
            line for line in done.log.splitlines() if "going on" in line or "from step" in line
        ]
        self._bring_back(victim)
        return {"killed": victim, "seconds": done.seconds, "step at the kill, at least": at,
                "said": again, "outcome": stage.outcome(self.cluster, done.log)}  # fmt: skip

    def tune(self) -> dict[str, Any]:
        """All trials accounted for."""
        stage = stage_of("tune", "x")
        job = self.cluster.submit(stage.command)
        job.says("Ray on", 200)
        time.sleep(20)
        victim = self._busy("ray::", job, idle="ray::IDLE")
        self.hosts.kill(victim)
        done = job.wait().check()
        self._bring_back(victim)
        return {"killed": victim, "seconds": done.seconds,
                "outcome": stage.outcome(self.cluster, done.log)}  # fmt: skip

    def serve(self) -> dict[str, Any]:
        """Requests by three clients all the while; each is asked again as `deepsic.Client` does."""
        serve_file(self.cluster)
        victim = self._busy("ServeReplica:deepsic:codec", None)
        counts: Counter[str] = Counter()
        over = threading.Event()
        threads = [
            threading.Thread(target=_client, args=(number, counts, over))
            for number in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        time.sleep(20)
        before = dict(counts)
        self.hosts.kill(victim)
        over.wait(SERVE_SECONDS)
        over.set()
        for thread in threads:
            thread.join()
        self.cluster.on_head("serve shutdown -y -a http://127.0.0.1:8265")
        self._bring_back(victim)
        return {"killed": victim, "before the kill": before, "all": dict(counts)}

    def _same_set(self, name: str, under_way: Callable[[], bool]) -> dict[str, Any]:
        plain, other = stage_of(name, "a"), stage_of(name, "x")
        undisturbed = self.cluster.job(plain.command)
        wanted = plain.outcome(self.cluster, undisturbed.log)
        job = self.cluster.submit(other.command)
        wait_until(f"{name} under way", 300, lambda: under_way() or job.ended())
        victim = self._busy("ray::", job, idle="ray::IDLE")
        self.hosts.kill(victim)
        killed_at = "before its end" if not job.ended() else "TOO LATE"
        done = job.wait().check()
        found = other.outcome(self.cluster, done.log)
        prefix = {"preprocess": "prepared-x", "archive": "archive-x"}[name]
        self._bring_back(victim)
        return {"killed": f"{victim}, {killed_at}", "undisturbed": wanted, "found": found,
                "same": found == wanted, "again": kept(prefix) == found,
                "seconds undisturbed": undisturbed.seconds, "seconds": done.seconds}  # fmt: skip

    def _busy(self, words: str, job: Job | None, *, idle: str = "nothing is called so") -> str:
        """A worker host with a process of that name; the first that has one."""
        for _ in range(60):
            for name in ("w2", "w1"):
                if name not in self.hosts.alive:
                    continue
                told = self.hosts.run(name, "ps -eo args").stdout
                if any(words in line and idle not in line for line in told.splitlines()):
                    return name
            if job is not None and job.ended():
                break
            time.sleep(0.5)
        raise RuntimeError(f"no worker host runs {words}: {job.text()[-2000:] if job else ''}")

    def _bring_back(self, name: str) -> None:
        self.hosts.start(name)
        began = time.monotonic()
        self.cluster.wait_for_nodes(3)
        console.say(f"{name} is back in the cluster after {time.monotonic() - began:.0f} s")


def stage_of(name: str, run: str) -> Stage:
    """A stage of that name, with outputs of its own."""
    return next(stage for stage in stages(run) if stage.name == name)


def checkpoints(prefix: str) -> int:
    """How many a training has written."""
    return sum(key.endswith("state.pt") for key in listing(prefix))


def _client(number: int, counts: Counter[str], over: threading.Event) -> None:
    """Encode and decode until it is over, over the head's proxy."""
    import deepsic
    from deepsic.client import ServiceError

    picture = photograph(number)
    once = deepsic.Client(f"http://{HOSTS['head']}:{PORT}", attempts=1, timeout_s=70)
    with once:
        while not over.is_set():
            for attempt in range(5):
                try:
                    blob = once.encode(picture, quality=50)
                    counts["answered"] += 1
                    counts["answered again"] += attempt > 0
                    if len(blob) < 100:
                        counts["wrong"] += 1
                    break
                except ServiceError:
                    counts["failed once"] += 1
                    time.sleep(1)
            else:
                counts["failed for good"] += 1


def main() -> int:
    """Parse, run, print."""
    if reason := missing():
        console.error(reason)
        return 2
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--venv", type=Path, default=Path(sys.prefix), help="the hosts' Python")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp/deepsic-hosts"))
    parser.add_argument("--checkout", type=Path, default=ROOT, help="what is copied to the hosts")
    names = ("preprocess", "archive", "train", "tune", "serve")
    parser.add_argument("--only", nargs="*", default=list(names), choices=names)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    end_on_sigterm()
    results: dict[str, Any] = {}
    with Hosts(options.folder, venv=options.venv) as hosts, s3_server() as endpoint:
        upload("photos", 48, photograph, damaged=1)
        upload("tiny", 600, tiny)
        logs = options.folder / "logs"
        with LocalCluster(hosts, endpoint, logs, checkout=options.checkout) as cluster:
            faults = Faults(hosts, cluster)
            for name in options.only:
                try:
                    results[name] = getattr(faults, name)()
                except Exception as error:  # one stage's trouble must not hide the others'
                    results[name] = {"error": f"{type(error).__name__}: {error}"[-3000:]}
                    _revive(hosts, cluster)
                console.say(f"{name}: {results[name]}")
                if options.json:
                    text = json.dumps(describe_run() | {"results": results}, indent=2)
                    options.json.write_text(text + "\n", "utf-8")
    return 1 if any("error" in found for found in results.values()) else 0


def _revive(hosts: Hosts, cluster: LocalCluster) -> None:
    for name in set(HOSTS) - hosts.alive:
        hosts.start(name)
    cluster.wait_for_nodes(3)


if __name__ == "__main__":
    sys.exit(main())
