"""`ray up`, all six stages, `ray down`, on three hosts of this machine.

    python benchmarks/cluster_stages.py --venv .venv --json stages.json

Hosts are namespaces with ssh daemons (`benchmarks/hosts.py`), the cluster is cluster-local.yaml
brought up by Ray over ssh, S3 is a moto server. Every stage is submitted as a Ray job by
cluster/run.sh; one runs by RAY_ADDRESS besides. Needs root and openssh-server.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.cluster_kit import BUCKET, LocalCluster, end_on_sigterm, s3_server
from benchmarks.cluster_work import PHOTOS, PORT, photograph, serve_file, stages, tiny, upload
from benchmarks.hosts import HOSTS, ROOT, Hosts, missing
from benchmarks.machine import describe_run
from pipelines import console

__all__ = ["run_all"]


def run_all(cluster: LocalCluster, only: list[str], note: Any) -> None:
    """All stages, or those named; `note(stage, seconds, outcome)` hears of each at its end."""
    for stage in stages():
        if only and stage.name not in only:
            continue
        done = cluster.job(stage.command)
        note(stage.name, done.seconds, stage.outcome(cluster, done.log))
    if not only or "attach" in only:
        command = (f"python pipelines/preprocess.py {PHOTOS} --out s3://{BUCKET}/prepared-b "
                   "--pictures-a-shard 16")  # fmt: skip
        attached = cluster.on_head(command).check()
        where = [line for line in attached.log.splitlines() if line.startswith("on Ray")]
        note("preprocess by RAY_ADDRESS", attached.seconds, where[0])
    if not only or "serve" in only:
        began = time.monotonic()
        ready = serve_file(cluster)
        note("serve", time.monotonic() - began, f"ready after {ready:.0f} s; {_served()}")


def _served() -> str:
    """Encode, label and decode over every host's own proxy."""
    import deepsic

    said = []
    for name, address in HOSTS.items():
        with deepsic.Client(f"http://{address}:{PORT}") as client:
            blob = client.encode(photograph(0), quality=60)
            image = client.decode(blob)
            original = Image.open(io.BytesIO(photograph(0)))
            if image.size != original.size or not client.labels(blob):
                raise RuntimeError(f"{name}: {image.size}, {client.labels(blob)}")
            said.append(f"{name} {len(blob)} bytes")
    return ", ".join(said)


def main() -> int:
    """Parse, run, print the table."""
    if reason := missing():
        console.error(reason)
        return 2
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--venv", type=Path, default=Path(sys.prefix), help="the hosts' Python")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp/deepsic-hosts"))
    parser.add_argument("--checkout", type=Path, default=ROOT, help="what is copied to the hosts")
    parser.add_argument("--only", nargs="*", default=[], help="names of stages")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    end_on_sigterm()
    rows: list[dict[str, Any]] = []

    def note(name: str, seconds: float, outcome: str) -> None:
        rows.append({"stage": name, "seconds": round(seconds, 1), "outcome": outcome})
        console.say(f"{name}: {seconds:.0f} s: {outcome}")
        if options.json:
            text = json.dumps(describe_run() | {"results": rows}, indent=2)
            options.json.write_text(text + "\n", "utf-8")

    with Hosts(options.folder, venv=options.venv) as hosts, s3_server() as endpoint:
        upload("photos", 48, photograph, damaged=1)
        upload("tiny", 600, tiny)
        logs = options.folder / "logs"
        with LocalCluster(hosts, endpoint, logs, checkout=options.checkout) as cluster:
            note("ray up", cluster.seconds["ray up"], f"{cluster.nodes()} nodes")
            run_all(cluster, options.only, note)
        left = cluster.ray_processes()
        note("ray down", cluster.seconds["ray down"], f"Ray's processes left: {left}")
    console.table("Three hosts", list(rows[0]), [list(row.values()) for row in rows])
    return 0 if not any(left.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
