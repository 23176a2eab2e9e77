"""`ray up`, all six stages, `ray down`, on three hosts of this machine.

    python benchmarks/cluster/stages.py --venv .venv --out stages.json

Hosts are namespaces with ssh daemons (`tests/support/hosts.py`), the cluster is cluster-local.yaml
brought up by Ray over ssh, S3 is a moto server. Every stage is submitted as a Ray job by
cluster/run.sh; one runs by RAY_ADDRESS besides. Needs root and openssh-server.
"""

from __future__ import annotations

import contextlib
import functools
import io
import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from PIL import Image

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
    wait_until,
)
from benchmarks.cluster.work import PORT, TimedStage, photograph, serve_file, stages, tiny, upload
from deepsic.errors import counted
from pipelines.stage import console
from pipelines.stage.exits import fail_if
from tests.support.hosts import HOSTS, ROOT, Hosts

__all__ = ["Notes", "run_all"]

ORDER = ("preprocess", "archive", "train", "evaluate", "tune", "serve")
STAGE_SECONDS = 500.0


class Notes:
    """What each stage took and gave, written down as it comes."""

    def __init__(self, path: Path | None) -> None:
        self.path, self.rows = path, list[dict[str, Any]]()
        self.failed = 0

    def add(self, stage: str, seconds: float, outcome: str) -> None:
        """A stage has ended."""
        self.rows.append({"stage": stage, "seconds": round(seconds, 1), "outcome": outcome})
        console.say(f"{stage}: {seconds:.0f} s: {outcome}")
        options.keep(self.path, {"results": self.rows})

    def attempt(self, stage: str, work: Callable[[], str]) -> None:
        """Do a stage; when it fails the others still have their turn."""
        began = time.monotonic()
        try:
            said = work()
        except Exception as error:  # written down, and the exit code says that there was one
            self.failed += 1
            said = f"FAILED: {type(error).__name__}: {error}"[:2000]
        self.add(stage, time.monotonic() - began, said)


def run_all(cluster: LocalCluster, only: list[str], notes: Notes, end: float) -> None:
    """The stages named, begun before `end`; one by RAY_ADDRESS, the others as jobs."""

    def run(stage: TimedStage) -> str:
        if stage.name == "evaluate":
            log = cluster.on_head(stage.command).check().log
        else:
            log = cluster.job(stage.command, seconds=STAGE_SECONDS).log
        where = re.findall(r"Ray on [^\n]*?\(\d+ CPUs\)", log)
        return f"{stage.outcome(cluster, log)}; {where[0] if where else 'Ray unknown'}"

    work: list[tuple[str, Callable[[], str]]] = [
        (stage.name, functools.partial(run, stage))
        for stage in sorted(stages(), key=lambda stage: ORDER.index(stage.name))
    ]
    work.append(("mlflow", _tracked))
    work.append(("serve", lambda: f"ready after {serve_file(cluster):.0f} s; {_served()}"))
    for name, do in work:
        if name not in only:
            continue
        if time.monotonic() > end:
            notes.failed += 1
            notes.add(name, 0, "no time was left for it")
            continue
        notes.attempt(name, do)


def _tracked() -> str:
    """Runs by experiment and status, as MLflow on the head tells another machine."""
    from mlflow import MlflowClient

    client = MlflowClient(f"http://{HOSTS['head']}:5000")
    names = {e.experiment_id: e.name for e in client.search_experiments()}
    runs = client.search_runs(list(names))
    printed = Counter(f"{names[r.info.experiment_id]} {r.info.status.lower()}" for r in runs)
    if missing := {f"{name} finished" for name in ("train", "evaluate")} - set(printed):
        raise RuntimeError(f"not there: {', '.join(missing)}; {dict(printed)}")
    return ", ".join(f"{count} {what}" for what, count in sorted(printed.items()))


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


def main(
    only: Annotated[
        list[str] | None,
        typer.Option(help=f"{', '.join(ORDER)}, mlflow; repeatable.  [default: all]"),
    ] = None,
    seconds: Annotated[float, typer.Option(metavar="S", help="Begin no stage later.")] = 1e6,
    venv: Venv = VENV,
    folder: Folder = FOLDER,
    checkout: Checkout = ROOT,
    out: options.Out = None,
) -> None:
    """Run, print the table; fails where a stage does, or Ray leaves a process."""
    need_hosts()
    names = options.chosen(only, (*ORDER, "mlflow"))
    notes = Notes(out)
    end = time.monotonic() + seconds
    with Hosts(folder, venv=venv) as hosts, s3_server() as endpoint:
        upload("photos", 48, photograph, damaged=1)
        upload("tiny", 300, tiny)
        logs = folder / "logs"
        with LocalCluster(hosts, endpoint, logs, checkout=checkout) as cluster:
            notes.add("ray up", cluster.seconds["ray up"], f"{cluster.nodes()} nodes")
            run_all(cluster, names, notes, end)
        # Workers' daemons leave a minute after their head has.
        with contextlib.suppress(TimeoutError):
            wait_until("Ray's end", 100, lambda: not any(cluster.ray_processes().values()))
        left = cluster.ray_processes()
        notes.add("ray down", cluster.seconds["ray down"], f"Ray's processes left: {left}")
    head = list(notes.rows[0])
    console.table("Three hosts", head, [list(row.values()) for row in notes.rows])
    bad = notes.failed + sum(left.values())
    fail_if(bad, f"{counted(bad, 'stage')} failed, or Ray's processes were left")


if __name__ == "__main__":
    options.run(main)
