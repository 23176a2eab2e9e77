"""What does distribution cost? The same work on one, two and three nodes with equal total cores.

    python benchmarks/cluster/scaling.py --venv .venv --json scaling.json

Three logical CPUs, as 3, 2 + 1 and 1 + 1 + 1 hosts of this machine (`tests/support/hosts.py`), for
each stage the wall time and the processor time of all processes of all hosts, Ray's included, from
the job's submission to its end. As long as the machine has no more cores than work for them, what
two or three nodes take beyond one is the price of distribution: more daemons, copies over the
network, models loaded once a node. It can't show more machines doing more work: the cores stay the
same. Processor time says it best on a machine that others use as well.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.cluster.kit import LocalCluster, end_on_sigterm, new_parser, s3_server
from benchmarks.cluster.work import (
    PORT,
    TimedStage,
    photograph,
    serve_file,
    stages,
    tiny,
    upload,
)
from benchmarks.machine import describe_run
from pipelines.stage import console
from tests.support.hosts import HOSTS, Hosts, missing

__all__ = ["overheads"]

STAGES = ("idle", "preprocess", "archive", "train", "evaluate", "tune", "serve")
CPUS = 3
IDLE_SECONDS = 20.0
LAYOUTS: dict[int, tuple[int, ...]] = {1: (3,), 2: (2, 1), 3: (1, 1, 1)}
"""CPUs of each host, by the number of nodes."""


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


def measure(nodes: int, options: argparse.Namespace, hosts: Hosts, endpoint: str) -> list[Any]:
    """All chosen stages on so many nodes."""
    rows = []
    with LocalCluster(
        hosts,
        endpoint,
        options.folder / "logs" / str(nodes),
        workers=nodes - 1,
        cpus=LAYOUTS[nodes],
        checkout=options.checkout,
    ) as cluster:
        for name, work in works(cluster, nodes, options):
            before, began = hosts.cpu_seconds(), time.monotonic()
            outcome = work()
            row = {"stage": name, "nodes": nodes, "seconds": round(time.monotonic() - began, 1),
                   "cpu_seconds": round(hosts.cpu_seconds() - before, 1),
                   "load": round(os.getloadavg()[0], 1), "outcome": outcome}  # fmt: skip
            console.say(str(row))
            rows.append(row)
    return rows


def works(
    cluster: LocalCluster, nodes: int, options: argparse.Namespace
) -> Iterator[tuple[str, Callable[[], str]]]:
    """Name and work of each chosen stage; what must be there before is made on the way."""

    def job(stage: TimedStage) -> str:
        return stage.outcome(cluster, cluster.job(stage.command).log)

    if "idle" in options.only:
        time.sleep(IDLE_SECONDS)  # what the start has left to do
        yield "idle", idle
    work = stages(f"n{nodes}", steps=options.steps, epoch=options.steps, workers=CPUS,
                  limit=options.evaluated)  # fmt: skip
    for stage in work:
        if stage.name in options.only:
            yield stage.name, functools.partial(job, stage)
    if "serve" in options.only:
        serve_file(cluster, replicas=CPUS)
        yield "serve", lambda: requests(options.requests)


def idle() -> str:
    """Nothing: what the daemons take for themselves."""
    time.sleep(IDLE_SECONDS)
    return f"{IDLE_SECONDS:.0f} s"


def requests(count: int) -> str:
    """Encode so many pictures over the head's proxy, as many at a time as there are CPUs."""
    import deepsic

    with deepsic.Client(f"http://{HOSTS['head']}:{PORT}") as client:

        def encode(number: int) -> int:
            return len(client.encode(photograph(number), quality=50))

        with ThreadPoolExecutor(CPUS) as pool:
            total = sum(pool.map(encode, range(count)))
    return f"{count} requests, {total} bytes"


def kept_rows(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of an earlier run that this one doesn't measure again."""
    if not options.json or not options.json.exists():
        return []
    rows: list[dict[str, Any]] = json.loads(options.json.read_text("utf-8"))["results"]
    again = {(stage, nodes) for stage in options.only for nodes in options.nodes}
    return [row for row in rows if (row["stage"], row["nodes"]) not in again]


def main() -> int:
    """Parse, measure, print the table."""
    if reason := missing():
        console.error(reason)
        return 2
    parser = new_parser(__doc__)
    parser.add_argument("--only", nargs="*", default=list(STAGES), choices=STAGES)
    parser.add_argument("--nodes", nargs="*", type=int, default=[1, 3, 2], choices=list(LAYOUTS))
    parser.add_argument("--photos", type=int, default=480)
    parser.add_argument("--tiny", type=int, default=1536)
    parser.add_argument("--steps", type=int, default=150, help="of the training")
    parser.add_argument("--evaluated", type=int, default=12, help="pictures")
    parser.add_argument("--requests", type=int, default=240)
    options = parser.parse_args()
    end_on_sigterm()
    rows = kept_rows(options)
    for nodes in options.nodes:
        # Hosts and S3 anew: nothing is warm for the second layout that wasn't for the first.
        with Hosts(options.folder, venv=options.venv) as hosts, s3_server() as endpoint:
            upload("photos", options.photos, photograph)
            upload("tiny", options.tiny, tiny)
            rows += measure(nodes, options, hosts, endpoint)
        if options.json:
            rows.sort(key=lambda row: (row["stage"], row["nodes"]))
            text = json.dumps(describe_run() | {"results": overheads(rows)}, indent=2)
            options.json.write_text(text + "\n", "utf-8")
    rows = overheads(rows)
    console.table("Distribution", list(rows[0]), [list(row.values()) for row in rows])
    return 0


if __name__ == "__main__":
    sys.exit(main())
