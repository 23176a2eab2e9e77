"""A host dies during each stage: does the stage end as if nothing had happened?

    python benchmarks/cluster/faults.py --venv .venv --out cluster_faults.json
    python benchmarks/cluster/faults.py --venv .venv --only preprocess --only archive

Three hosts as in `stages.py`. For every stage: an undisturbed run, then the same into
another place, and once it is well under way a worker host is killed (its cable pulled, all its
processes ended). The host comes back afterwards, and Ray's autoscaler starts it again.

    preprocess, archive   the same objects with the same bytes as undisturbed
    train                 resumes from the last checkpoint, no older than one interval
    tune                  all trials accounted for
    serve                 requests that failed once, by what they were at when the host died, and
                          after the client asked again
"""

from __future__ import annotations

import io
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from benchmarks import options
from benchmarks.cluster.kit import (
    BUCKET,
    FOLDER,
    VENV,
    Checkout,
    ClusterJob,
    Folder,
    LocalCluster,
    Venv,
    need_hosts,
    s3_server,
    wait_until,
)
from benchmarks.cluster.work import (
    CHECKPOINT_SECONDS,
    PORT,
    TRIALS,
    TimedStage,
    kept,
    listing,
    photograph,
    serve_file,
    stages,
    tiny,
    upload,
    written,
)
from deepsic.errors import counted
from pipelines.stage import console
from pipelines.stage.exits import fail_if
from pipelines.training.progress import resumed_at
from tests.support.hosts import HOSTS, ROOT, Hosts

__all__ = ["Faults"]

STAGES = ("preprocess", "archive", "train", "tune", "serve")
CLIENTS, ATTEMPTS = 3, 4
SERVE_SECONDS = 120.0
TRAIN_STEPS = 400
SAVING_SECONDS = 5.0
"""What a step and the writing of a checkpoint may take beyond the interval."""


class Faults:
    """Kills hosts of one cluster; each method gives what it found."""

    def __init__(self, hosts: Hosts, cluster: LocalCluster) -> None:
        self.hosts, self.cluster = hosts, cluster

    def preprocess(self) -> dict[str, Any]:
        """Identical output set."""
        return self._same_set("preprocess", "Map(", lambda: len(listing("prepared-x")) >= 2)

    def archive(self) -> dict[str, Any]:
        """Identical output set."""
        return self._same_set("archive", "compress_chunk", lambda: len(listing("archive-x")) >= 40)

    def train(self) -> dict[str, Any]:
        """Goes on from the last checkpoint, which is at most one interval old."""
        if not listing("prepared-a"):
            self.cluster.job(stage_of("preprocess", "a").command)
        stage = stage_of("train", "x", steps=TRAIN_STEPS, epoch=TRAIN_STEPS // 2)
        job = self.cluster.submit(stage.command.replace("prepared-x", "prepared-a"))
        wait_until("two checkpoints", 400, lambda: len(checkpoints("train-x")) > 1 or job.ended())
        victim = self._busy("RayTrainWorker", job)
        self.hosts.kill(victim)
        killed = time.time()
        last, key = max((t, k) for k, t in checkpoints("train-x").items() if t <= killed)
        step = step_of(f"train-x/{key}")
        done = job.wait().check()
        steps = resumed_at(done.log)
        reached = re.findall(r'"stage": "train", "done": (\d+), .*"finished": true', done.log)
        self._bring_back(victim)
        return {"killed": victim, "seconds": done.seconds,
                "seconds since the last checkpoint": round(killed - last, 1),
                "its step": step, "resumed from steps": steps, "reached": reached,
                "same": steps == [step] and reached == [str(TRAIN_STEPS)]
                and killed - last <= CHECKPOINT_SECONDS + SAVING_SECONDS,
                "outcome": stage.outcome(self.cluster, done.log)}  # fmt: skip

    def tune(self) -> dict[str, Any]:
        """All trials accounted for."""
        stage = stage_of("tune", "x")
        job = self.cluster.submit(stage.command)
        job.says("Ray on", 200)
        victim = self._busy("ImplicitFunc", job)
        time.sleep(5)
        self.hosts.kill(victim)
        done = job.wait().check()
        outcome = stage.outcome(self.cluster, done.log)
        self._bring_back(victim)
        return {"killed": victim, "seconds": done.seconds, "outcome": outcome,
                "same": outcome.startswith(f"{TRIALS} trials,")}  # fmt: skip

    def serve(self) -> dict[str, Any]:
        """Requests by three clients all the while; each is asked again as `deepsic.Client` does."""
        serve_file(self.cluster)
        victim = self._busy("ServeReplica:deepsic:codec", None)
        calls: list[Call] = []
        over = threading.Event()
        threads = [
            threading.Thread(target=_client, args=(number, calls, over))
            for number in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        time.sleep(20)
        killed = time.monotonic()
        self.hosts.kill(victim)
        over.wait(SERVE_SECONDS)
        over.set()
        for thread in threads:
            thread.join()
        self.cluster.on_head("serve shutdown -y -a http://127.0.0.1:8265")
        self._bring_back(victim)
        return {"killed": victim} | told_of(calls, killed)

    def _same_set(self, name: str, words: str, under_way: Callable[[], bool]) -> dict[str, Any]:
        plain, other = stage_of(name, "a"), stage_of(name, "x")
        undisturbed = self.cluster.job(plain.command)
        wanted = plain.outcome(self.cluster, undisturbed.log)
        job = self.cluster.submit(other.command)
        wait_until(f"{name} under way", 300, lambda: under_way() or job.ended())
        victim = self._busy(words, job)
        self.hosts.kill(victim)
        if job.ended():
            raise RuntimeError(f"{name} ended before {victim} was killed: give it more work")
        done = job.wait().check()
        found = other.outcome(self.cluster, done.log)
        prefix = {"preprocess": "prepared-x", "archive": "archive-x"}[name]
        self._bring_back(victim)
        return {"killed": victim, "undisturbed": wanted, "found": found,
                "same": found == wanted == kept(prefix),
                "seconds undisturbed": undisturbed.seconds, "seconds": done.seconds}  # fmt: skip

    def _busy(self, words: str, job: ClusterJob | None) -> str:
        """A worker host with a process of that name; the first that has one."""
        for _ in range(60):
            for name in ("w2", "w1"):
                if name not in self.hosts.alive:
                    continue
                printed = self.hosts.run(name, "ps -eo args").stdout
                if any(line.startswith("ray::") and words in line for line in printed.splitlines()):
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


def stage_of(name: str, run: str, **work: int) -> TimedStage:
    """A stage of that name, with outputs of its own."""
    return next(stage for stage in stages(run, **work) if stage.name == name)


def checkpoints(prefix: str) -> dict[str, float]:
    """Those that a training keeps, and when they were written, seconds since 1970."""
    return {key: t for key, t in written(prefix).items() if key.endswith("state.pt")}


def step_of(key: str) -> int:
    """The step of a training's checkpoint."""
    import boto3
    import torch

    data = boto3.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read()
    return int(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)["step"])


@dataclass(frozen=True)
class Call:
    """One request, as the client saw it."""

    began: float
    ended: float
    answered: bool
    attempt: int


def told_of(calls: list[Call], killed: float) -> dict[str, Any]:
    """What became of the requests of all clients around the moment of the kill."""
    failed = [call for call in calls if not call.answered]
    at_the_kill = [call for call in failed if call.began <= killed <= call.ended]
    gaps = [call.ended - call.began for call in calls if call.ended >= killed]
    lost = [call for call in failed if call.attempt == ATTEMPTS]
    return {
        "answered before the kill": sum(c.answered and c.ended < killed for c in calls),
        "answered after": sum(c.answered and c.ended >= killed for c in calls),
        "answered at the second time or later": sum(c.answered and c.attempt > 1 for c in calls),
        "failed once, in flight at the kill": len(at_the_kill),
        "failed once, sent afterwards": len(failed) - len(at_the_kill),
        "failed for good": len(lost),
        "longest request, s": round(max(gaps), 1),
        "same": bool(gaps) and not lost and len(failed) == len(at_the_kill),
    }


def _client(number: int, calls: list[Call], over: threading.Event) -> None:
    """Encode until it is over, over the head's proxy; every attempt is written down."""
    import deepsic
    from deepsic.client import ServiceError

    image = photograph(number)
    url = f"http://{HOSTS['head']}:{PORT}"
    with deepsic.Client(url, attempts=1, timeout_s=70) as client:
        while not over.is_set():
            for attempt in range(1, ATTEMPTS + 1):
                began = time.monotonic()
                try:
                    client.encode(image, quality=50)
                except ServiceError as error:
                    console.say(f"client {number}, attempt {attempt}: {error}")
                    calls.append(Call(began, time.monotonic(), False, attempt))
                    time.sleep(1)
                else:
                    calls.append(Call(began, time.monotonic(), True, attempt))
                    break


def main(
    only: Annotated[
        list[str] | None,
        typer.Option(help=f"{', '.join(STAGES)}; repeatable.  [default: all]"),
    ] = None,
    venv: Venv = VENV,
    folder: Folder = FOLDER,
    checkout: Checkout = ROOT,
    out: options.Out = None,
) -> None:
    """Run, print; fails where a stage doesn't end as undisturbed."""
    need_hosts()
    names = options.chosen(only, STAGES)
    results: dict[str, Any] = {}
    with Hosts(folder, venv=venv) as hosts, s3_server() as endpoint:
        upload("photos", 240, photograph, damaged=1)
        upload("tiny", 768, tiny)
        logs = folder / "logs"
        with LocalCluster(hosts, endpoint, logs, checkout=checkout) as cluster:
            faults = Faults(hosts, cluster)
            for name in names:
                try:
                    results[name] = getattr(faults, name)()
                except Exception as error:  # one stage's trouble must not hide the others'
                    results[name] = {"error": f"{type(error).__name__}: {error}"[-3000:]}
                    _start_again(hosts, cluster)
                console.say(f"{name}: {results[name]}")
                options.keep(out, {"results": results})
    other = sum(not found.get("same") for found in results.values())
    fail_if(other, f"{counted(other, 'stage')} ended otherwise")


def _start_again(hosts: Hosts, cluster: LocalCluster) -> None:
    for name in set(HOSTS) - hosts.alive:
        hosts.start(name)
    cluster.wait_for_nodes(3)


if __name__ == "__main__":
    options.run(main)
