"""Kill and break everything while an archive is compressed, and count what was lost.

    python benchmarks/archive/faults.py --objects 5000 --faults 50 --out faults.json
    python benchmarks/archive/faults.py --objects 300 --faults 5 --kind worker --kind s3   # a look

For each kind of fault: photographs, shrunk to 64 to 96 pixels, go from a folder to another, or to
S3 (moto or Ceph behind a proxy that misbehaves), on a Ray cluster of a head and two worker nodes on
this machine, with the command that users run, until it ends with exit code 0. Where a run ends
before enough faults were injected, another begins in a new destination. With `--work FOLDER`,
images, the undisturbed run and runs that were killed are kept, and the next call goes on with
them. Every run is compared with one that nothing disturbed:

    lost        sources without an ok row, or without an object of that SHA-256 at their key
    duplicated  sources with more than one ok row, objects that no source explains
    corrupt     objects whose bytes are not those of the undisturbed run
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shlex
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import psutil
import typer

from benchmarks import options
from benchmarks.archive.small_photos import COMMAND, Command, Photos, Work, make_images
from deepsic.errors import counted
from pipelines.stage import console
from pipelines.stage.exits import fail_if
from tests.support.fault_proxy import FAULTS, FaultProxy
from tests.support.s3_servers import CREDENTIALS, ceph_gateway, moto_server

ROOT = Path(__file__).parents[2]
KILLS, TO_S3 = ("worker", "driver", "node"), ("s3", "network")
"""SIGKILL of one of these while a folder is written; S3 errors and the network cut."""
MIXED = {"kills": KILLS, "storage": TO_S3}
"""Several kinds in one run, each as often as was asked for."""
S3_RATE = 0.015
"""Probability of each S3 fault for each request."""
PAUSES = {"worker": (0.2, 2.0), "driver": (0.3, 4.0), "node": (0.1, 1.0)}
CUT_PAUSES = (3.0, 6.0)
"""Seconds between two faults, drawn evenly."""
PATIENCE = 10
"""Every so many kills, the next one waits until the ledger has grown: else, on a slow machine,
nothing would ever get done."""
CUT_SECONDS = (0.5, 2.0)
START_TRIES = 6


@dataclass(kw_only=True)
class Outcome:
    """What became of all runs of one kind."""

    kind: str
    injected: int = 0
    details: dict[str, int] = field(default_factory=dict)
    runs: int = 0
    restarts: int = 0
    """Times that the command was started again."""
    lost: int = 0
    duplicated: int = 0
    corrupt: int = 0
    seconds: float = 0.0


class Nodes:
    """A Ray cluster of a head and two worker nodes of one CPU each, on this machine."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0,
                "object_store_memory": 10**8,
                "include_dashboard": False,
            },
        )
        self.address: str = self._cluster.address
        self._nodes = [self._add(), self._add()]

    def _add(self) -> Any:
        for _ in range(START_TRIES - 1):
            with contextlib.suppress(Exception):  # Ray gives a node on a busy machine up early
                return self._cluster.add_node(num_cpus=1, object_store_memory=10**8)
        return self._cluster.add_node(num_cpus=1, object_store_memory=10**8)

    def replace(self, number: int) -> None:
        """Kill a worker node with all its processes, then start another."""
        self._cluster.remove_node(self._nodes.pop(number), allow_graceful=False)
        self._nodes.append(self._add())

    def close(self) -> None:
        """Stop the cluster."""
        self._cluster.shutdown()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, kw_only=True)
class FaultPlan:
    """What was asked for."""

    objects: int
    faults: int
    kinds: list[str]
    server: str
    pace: float
    photos: Path | None
    command: list[str]
    out: Path | None


class FaultTrial:
    """One kind of fault: the injector, and the command run to its end."""

    def __init__(
        self, kind: str, plan: FaultPlan, proxy: FaultProxy, nodes: Nodes, state: Path
    ) -> None:
        self.outcome = Outcome(kind=kind)
        self.state = state
        if kind not in (*TO_S3, "storage") and state.exists():
            self.outcome = Outcome(**json.loads(state.read_text()))
        self.command, self.proxy, self.nodes = plan.command, proxy, nodes
        self.faults, self.pace = plan.faults, plan.pace
        self.dice = random.Random(str(self.outcome))
        proxy.counts.clear()
        self.destination = ""
        self.stopped = False
        self.driver: subprocess.Popen[bytes] | None = None
        self.finished = threading.Event()

    def run(self, source: Path, destination: str) -> None:
        """Run the command until it ends with 0, while the injector is at work."""
        self.finished.clear()
        self.destination = destination
        began = time.monotonic()
        # Ray starts nodes from the main thread only, so the faults stay there.
        with ThreadPoolExecutor(1) as pool:
            command = pool.submit(self._command, [*self.command, str(source), destination])
            try:
                self._inject()
            except BaseException:
                self.stopped = True
                self._hit_driver()
                raise
            command.result()
        self.outcome.seconds += time.monotonic() - began
        self.outcome.runs += 1

    def keep(self) -> None:
        """Note how far we are, for a next call."""
        self.state.write_text(json.dumps(asdict(self.outcome)))

    def _command(self, command: list[str]) -> None:
        environment = os.environ | {"RAY_ADDRESS": self.nodes.address}
        environment["AWS_ENDPOINT_URL"] = self.proxy.url
        try:
            while True:
                with tempfile.TemporaryFile() as log:
                    self.driver = subprocess.Popen(
                        command, env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT
                    )
                    status = self.driver.wait()
                    if status == 0:
                        return
                    if self.stopped or status not in (-signal.SIGKILL, 1, 8):
                        log.seek(0)
                        raise RuntimeError(f"exit {status}: {log.read()[-3000:].decode()}")
                self.outcome.restarts += 1
        finally:
            self.finished.set()

    def _inject(self) -> None:
        """Faults at random times until there were enough, or the run has ended."""
        kind = self.outcome.kind
        if kind in (*KILLS, "kills"):
            self._kill(MIXED.get(kind, (kind,)))
            return
        self.proxy.rates = {} if kind == "network" else dict.fromkeys(FAULTS, S3_RATE)
        while kind != "s3" and self.proxy.counts["cut"] < self.faults:
            if self.finished.wait(self.pace * self.dice.uniform(*CUT_PAUSES)):
                break
            self.proxy.cut(self.dice.uniform(*CUT_SECONDS))
        self.finished.wait()
        self.proxy.rates = {}
        counts = self.proxy.counts
        self.outcome.details = dict(counts)
        errors = sum(counts[name] for name in FAULTS) - counts["dropped while cut"]
        # Where there are both, the rarer kind decides whether there were enough.
        least = {"s3": errors, "network": counts["cut"]}
        self.outcome.injected = least.get(kind, min(least.values()))

    def _kill(self, kinds: tuple[str, ...]) -> None:
        counts = self.outcome.details
        while left := [kind for kind in kinds if counts.get(kind, 0) < self.faults]:
            kind = self.dice.choice(left)
            if self._wait(kind):
                return
            if getattr(self, f"_hit_{kind}")():
                counts[kind] = counts.get(kind, 0) + 1
                self.outcome.injected = min(counts.get(kind, 0) for kind in kinds)
                self.keep()
                console.say(f"kills so far: {counts}")

    def _wait(self, kind: str) -> bool:
        """Pause until the next kill; whether the run has ended meanwhile."""
        before = parts(self.destination)
        if self.finished.wait(self.pace * self.dice.uniform(*PAUSES[kind])):
            return True
        patient = sum(self.outcome.details.values()) % PATIENCE == PATIENCE - 1
        while patient and parts(self.destination) == before:
            if self.finished.wait(0.5):
                return True
        return False

    def _hit_worker(self) -> bool:
        found = []
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "ray::compress_chunk" in " ".join(process.cmdline()):
                    found.append(process)
        if not found:
            return False
        self.dice.choice(found).kill()
        return True

    def _hit_driver(self) -> bool:
        if self.driver is None or self.driver.poll() is not None:
            return False
        self.driver.kill()
        return True

    def _hit_node(self) -> bool:
        self.nodes.replace(self.dice.randrange(2))
        return True


def outputs(url: str) -> dict[str, str]:
    """SHA-256 of every output by its key."""
    from pipelines.archive.keys import RESERVED
    from pipelines.storage import open_storage, sha256

    storage = open_storage(url)
    keys = [item.key for item in storage.list() if not item.key.startswith(RESERVED)]
    return {key: sha256(storage.get(key).data) for key in keys}


def parts(url: str) -> int:
    """How many parts the ledger has."""
    from pipelines.archive.ledger import LEDGER
    from pipelines.storage import open_storage

    return sum(1 for _ in open_storage(url).list(LEDGER))


def ok_rows(url: str) -> Counter[str]:
    """How many ok rows each source has over all parts that workers wrote.

    What a compaction made of them says the same again; what it replaced stays for an hour.
    """
    from pipelines.archive.ledger import LEDGER, OK, Ledger
    from pipelines.archive.ledger.compact import MERGED
    from pipelines.storage import open_storage

    ledger = Ledger(open_storage(url))
    rows: Counter[str] = Counter()
    for item in ledger.storage.list(LEDGER):
        if item.key.startswith(LEDGER + MERGED):
            continue
        for row in ledger.rows(item.key.removeprefix(LEDGER)) or ():
            rows[row.source_key] += row.status == OK
    return rows


def count_damage(
    outcome: Outcome, url: str, sources: set[str], undisturbed: dict[str, str]
) -> None:
    """Count what went wrong in one run."""
    made, rows = outputs(url), ok_rows(url)
    explained = {f"{key}.sic" for key in sources}
    outcome.lost += sum(rows[key] == 0 or f"{key}.sic" not in made for key in sources)
    outcome.duplicated += sum(count > 1 for count in rows.values()) + len(set(made) - explained)
    outcome.corrupt += sum(undisturbed.get(key) != digest for key, digest in made.items())


def benchmark(plan: FaultPlan, folder: Path) -> list[Outcome]:
    """All kinds, one after the other; what is known is kept as it comes."""
    import boto3

    source = folder / "source"
    sources = make_images(source, plan.objects, plan.photos)
    calm = str(folder / "undisturbed")
    found = []
    server = ceph_gateway if plan.server == "ceph" else moto_server
    with server() as endpoint, FaultProxy(endpoint, {}) as proxy:
        os.environ["AWS_ENDPOINT_URL"] = endpoint  # of this process, which counts
        boto3.client("s3").create_bucket(Bucket="faults")
        os.environ["AWS_ENDPOINT_URL"] = proxy.url  # of the nodes, and of all that they start
        nodes = Nodes()
        os.environ["AWS_ENDPOINT_URL"] = endpoint
        try:
            environment = os.environ | {"RAY_ADDRESS": nodes.address}
            subprocess.run(
                [*plan.command, str(source), calm], check=True, cwd=ROOT, env=environment
            )
            undisturbed = outputs(calm)
            for kind in plan.kinds:
                trial = FaultTrial(kind, plan, proxy, nodes, folder / f"{kind}.json")
                while not trial.outcome.runs or trial.outcome.injected < plan.faults:
                    place = "s3://faults" if kind in (*TO_S3, "storage") else str(folder)
                    url = f"{place}/{kind}{trial.outcome.runs}"
                    trial.run(source, url)
                    count_damage(trial.outcome, url, sources, undisturbed)
                    trial.keep()
                    console.say(str(trial.outcome))
                found.append(trial.outcome)
                results = [asdict(one) for one in found]
                options.keep(plan.out, {"objects": plan.objects, "results": results})
        finally:
            nodes.close()
    return found


def main(
    objects: Annotated[int, typer.Option(min=1, metavar="N", help="Photographs a run.")] = 5000,
    faults: Annotated[int, typer.Option(min=1, metavar="N", help="At least, of each kind.")] = 50,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            help=f"{', '.join((*KILLS, *TO_S3, *MIXED))}; repeatable.  [default: kills, storage]"
        ),
    ] = None,
    server: Annotated[Literal["moto", "ceph"], typer.Option(help="Behind S3.")] = "moto",
    pace: Annotated[float, typer.Option(min=0, help="Pauses times this.")] = 1.0,
    photos: Photos = None,
    work: Work = None,
    command: Command = COMMAND,
    out: options.Out = None,
) -> None:
    """Run, print the table; fails when anything was lost, duplicated or corrupt."""
    plan = FaultPlan(
        objects=objects, faults=faults,
        kinds=options.chosen(kind or MIXED, (*KILLS, *TO_S3, *MIXED)),
        server=server, pace=pace, photos=photos, command=shlex.split(command), out=out,
    )  # fmt: skip
    defaults = {
        "RAY_AUTH_MODE": "disabled",
        "DEEPSIC_NUM_CPUS": "2", "DEEPSIC_OBJECT_STORE_MB": "200", "PYTHONPATH": str(ROOT),
        "RAY_raylet_start_wait_time_s": "120", "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "300",
    }  # fmt: skip
    os.environ.update(CREDENTIALS | defaults)
    with tempfile.TemporaryDirectory() as folder:
        found = benchmark(plan, work or Path(folder))
    columns = ["kind", "faults", "runs", "restarts", "lost", "duplicated", "corrupt", "seconds"]
    rows = [
        [o.kind, o.injected, o.runs, o.restarts, o.lost, o.duplicated, o.corrupt, round(o.seconds)]
        for o in found
    ]
    console.table(f"Faults, {objects} objects a run", columns, rows)
    wrong = sum(one.lost + one.duplicated + one.corrupt for one in found)
    fail_if(wrong, f"{counted(wrong, 'object')} lost, duplicated or corrupt")


if __name__ == "__main__":
    options.run(main)
