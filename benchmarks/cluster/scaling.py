"""What does distribution cost? The same work on one, two and three nodes with equal total cores.

    python benchmarks/cluster/scaling.py --venv .venv --out scaling.json

Three logical CPUs, as 3, 2 + 1 and 1 + 1 + 1 hosts of this machine (`tests/support/hosts.py`), for
each stage the wall time and the processor time of all processes of all hosts, Ray's included, from
the job's submission to its end. As long as the machine has no more cores than work for them, what
two or three nodes take beyond one is the price of distribution: more daemons, copies over the
network, models loaded once a node. It can't show more machines doing more work: the cores stay the
same. Processor time says it best on a machine that others use as well.
"""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import options
from benchmarks.cluster.kit import (
    FOLDER,
    VENV,
    Checkout,
    Folder,
    LocalCluster,
    Venv,
    need_hosts,
    s3_server,
)
from benchmarks.cluster.work import (
    PORT,
    TimedStage,
    photograph,
    serve_file,
    stages,
    tiny,
    upload,
)
from pipelines.stage import console
from tests.support.hosts import HOSTS, ROOT, Hosts

__all__ = ["overheads"]

STAGES = ("idle", "preprocess", "archive", "train", "evaluate", "tune", "serve")
CPUS = 3
IDLE_SECONDS = 20.0
LAYOUTS: dict[int, tuple[int, ...]] = {1: (3,), 2: (2, 1), 3: (1, 1, 1)}
"""CPUs of each host, by the number of nodes."""


@dataclass(frozen=True, kw_only=True)
class ScalingPlan:
    """What is measured, and how much of it."""

    only: list[str]
    steps: int
    evaluated: int
    requests: int
    logs: Path
    checkout: Path


def overheads(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of every stage and number of nodes: time beyond that on one node, as a share of it."""
    alone = {row["stage"]: row for row in rows if row["nodes"] == 1}
    found = []
    for row in rows:
        base = alone.get(row["stage"])
        shares = {
            f"{name} overhead": round(row[name] / base[name] - 1, 3) if base else None
            for name in ("seconds", "cpu_seconds")
        }
        found.append(row | shares)
    return found


def measure(nodes: int, plan: ScalingPlan, hosts: Hosts, endpoint: str) -> list[Any]:
    """All chosen stages on so many nodes."""
    rows = []
    with LocalCluster(
        hosts,
        endpoint,
        plan.logs / str(nodes),
        workers=nodes - 1,
        cpus=LAYOUTS[nodes],
        checkout=plan.checkout,
    ) as cluster:
        for name, work in works(cluster, nodes, plan):
            before, began = hosts.cpu_seconds(), time.monotonic()
            outcome = work()
            row = {"stage": name, "nodes": nodes, "seconds": round(time.monotonic() - began, 1),
                   "cpu_seconds": round(hosts.cpu_seconds() - before, 1),
                   "load": round(os.getloadavg()[0], 1), "outcome": outcome}  # fmt: skip
            console.say(str(row))
            rows.append(row)
    return rows


def works(
    cluster: LocalCluster, nodes: int, plan: ScalingPlan
) -> Iterator[tuple[str, Callable[[], str]]]:
    """Name and work of each chosen stage; what must be there before is made on the way."""

    def job(stage: TimedStage) -> str:
        return stage.outcome(cluster, cluster.job(stage.command).log)

    if "idle" in plan.only:
        time.sleep(IDLE_SECONDS)  # what the start has left to do
        yield "idle", idle
    work = stages(f"n{nodes}", steps=plan.steps, epoch=plan.steps, workers=CPUS,
                  limit=plan.evaluated)  # fmt: skip
    for stage in work:
        if stage.name in plan.only:
            yield stage.name, functools.partial(job, stage)
    if "serve" in plan.only:
        serve_file(cluster, replicas=CPUS)
        yield "serve", lambda: requests(plan.requests)


def idle() -> str:
    """Nothing: what the daemons take for themselves."""
    time.sleep(IDLE_SECONDS)
    return f"{IDLE_SECONDS:.0f} s"


def requests(count: int) -> str:
    """Encode so many images over the head's proxy, as many at a time as there are CPUs."""
    import deepsic

    with deepsic.Client(f"http://{HOSTS['head']}:{PORT}") as client:

        def encode(number: int) -> int:
            return len(client.encode(photograph(number), quality=50))

        with ThreadPoolExecutor(CPUS) as pool:
            total = sum(pool.map(encode, range(count)))
    return f"{count} requests, {total} bytes"


def kept_rows(out: Path | None, again: set[tuple[str, int]]) -> list[dict[str, Any]]:
    """Rows of an earlier run, without those of a stage and number of nodes in `again`."""
    if not out or not out.exists():
        return []
    rows: list[dict[str, Any]] = json.loads(out.read_text("utf-8"))["results"]
    return [row for row in rows if (row["stage"], row["nodes"]) not in again]


def main(
    only: Annotated[
        list[str] | None,
        typer.Option(help=f"{', '.join(STAGES)}; repeatable.  [default: all]"),
    ] = None,
    nodes: Annotated[
        list[int] | None,
        typer.Option(min=1, max=3, metavar="N", help="Repeatable.  [default: 1, 3, 2]"),
    ] = None,
    photos: Annotated[int, typer.Option(min=1, metavar="N", help="Of 480x320 pixels.")] = 480,
    tiny_images: Annotated[int, typer.Option(min=1, metavar="N", help="For the archive.")] = 1536,
    steps: Annotated[int, typer.Option(min=1, metavar="N", help="Of the training.")] = 150,
    evaluated: Annotated[int, typer.Option(min=1, metavar="N", help="Images.")] = 12,
    requests: Annotated[int, typer.Option(min=1, metavar="N", help="Of the service.")] = 240,
    venv: Venv = VENV,
    folder: Folder = FOLDER,
    checkout: Checkout = ROOT,
    out: options.Out = None,
) -> None:
    """Measure, print the table; rows that are in --out and not measured again stay."""
    need_hosts()
    plan = ScalingPlan(
        only=options.chosen(only, STAGES), steps=steps, evaluated=evaluated, requests=requests,
        logs=folder / "logs", checkout=checkout,
    )  # fmt: skip
    counts = nodes or [1, 3, 2]
    rows = kept_rows(out, {(stage, count) for stage in plan.only for count in counts})
    for count in counts:
        # Hosts and S3 anew: nothing is warm for the second layout that wasn't for the first.
        with Hosts(folder, venv=venv) as hosts, s3_server() as endpoint:
            upload("photos", photos, photograph)
            upload("tiny", tiny_images, tiny)
            rows += measure(count, plan, hosts, endpoint)
        rows.sort(key=lambda row: (row["stage"], row["nodes"]))
        options.keep(out, {"results": overheads(rows)})
    rows = overheads(rows)
    console.table("Distribution", list(rows[0]), [list(row.values()) for row in rows])


if __name__ == "__main__":
    options.run(main)
