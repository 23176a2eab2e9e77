"""Kill and break everything while an archive is compressed, and count what was lost.

    python benchmarks/archive_faults.py --objects 5000 --faults 50 --json faults.json
    python benchmarks/archive_faults.py --objects 300 --faults 5 --kinds worker s3   # a quick look

For each kind of fault: photographs, shrunk to 64 to 96 pixels, go from a folder to S3 (moto_server
behind a proxy that misbehaves) on a Ray cluster of a head and two worker nodes on this machine,
with the command that users run, until it ends with exit code 0. Where a run ends before enough
faults were injected, another begins in a new destination. With `--work FOLDER`, pictures and the
undisturbed run are kept for the next call, so that kinds can be measured one at a time. Every run
is compared with one that nothing disturbed:

    lost        sources without an ok row, or without an object of that SHA-256 at their key
    duplicated  sources with more than one ok row, objects that no source explains
    corrupt     objects whose bytes are not those of the undisturbed run
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil
from PIL import Image

from benchmarks.fault_proxy import FAULTS, FaultProxy
from benchmarks.machine import clean_up_when_terminated, describe_run
from pipelines import console
from pipelines.archive.demo import PHOTOGRAPHS

ROOT = Path(__file__).parents[1]
KINDS = ("worker", "driver", "node", "s3", "network")
S3_RATE = 0.015
"""Probability of each S3 fault for each request."""
PAUSES = {"worker": (0.5, 4.0), "driver": (0.5, 5.0), "node": (0.5, 5.0), "network": (1.0, 3.0)}
"""Seconds between two faults, drawn evenly. Every other driver and node is left alone until the
ledger has grown: else nothing would ever get done."""
CUT_SECONDS = (0.5, 3.0)
START_TRIES = 6
SIDES = (64, 80, 96)
SUFFIXES = (".jpg", ".jpeg", ".png")


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


def make_pictures(folder: Path, count: int, photos: Path | None = None) -> set[str]:
    """`count` photographs of 64 to 96 pixels as PNG, in folders of a hundred; their keys.

    photos: where the photographs are (all are cut and shrunk in turn); None: scikit-image's.
    """
    import skimage

    shipped = [Path(skimage.__file__).parent / "data" / name for name in PHOTOGRAPHS]
    found = sorted(p for p in photos.rglob("*") if p.suffix.lower() in SUFFIXES) if photos else []
    sources = found or shipped
    keys = {f"{number // 100:03d}/{number:06d}.png" for number in range(count)}
    opened: dict[Path, Image.Image] = {}
    for number, key in enumerate(sorted(keys)):
        path = folder / key
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        source = sources[number % len(sources)]
        if source not in opened:
            opened = {} if len(sources) > len(shipped) else opened
            opened[source] = Image.open(source).convert("RGB")
        image = opened[source]
        dice = random.Random(number)
        side, width = min(image.size), dice.choice(SIDES)
        crop = side if number < len(sources) else dice.randrange(side // 2, side)
        left, top = dice.randint(0, image.width - crop), dice.randint(0, image.height - crop)
        box = (left, top, left + crop, top + crop)
        partial = path.with_suffix(".part")
        image.resize((width, dice.choice(SIDES)), Image.Resampling.BICUBIC, box).save(
            partial, "PNG", compress_level=1
        )
        partial.rename(path)
    return keys


@contextlib.contextmanager
def moto_server() -> Iterator[str]:
    """An S3 server; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(command, **quiet)
    try:
        for _ in range(300):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


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
        self._cluster.shutdown()


class Trial:
    """One kind of fault: the injector, and the command run to its end."""

    def __init__(
        self,
        kind: str,
        options: argparse.Namespace,
        proxy: FaultProxy,
        nodes: Nodes,
        progress: Callable[[str], int],
    ) -> None:
        self.outcome = Outcome(kind=kind)
        self.command, self.proxy, self.nodes = shlex.split(options.command), proxy, nodes
        self.faults, self.pace = options.faults, options.pace
        self.dice = random.Random(kind)
        self.progress, self.destination = progress, ""
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
            self._inject()
            command.result()
        self.outcome.seconds += time.monotonic() - began
        self.outcome.runs += 1

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
                    if status not in (-signal.SIGKILL, 1, 8):
                        log.seek(0)
                        raise RuntimeError(f"exit {status}: {log.read()[-3000:].decode()}")
                self.outcome.restarts += 1
        finally:
            self.finished.set()

    def _inject(self) -> None:
        """Faults at random times until there were enough, or the run has ended."""
        kind = self.outcome.kind
        if kind == "s3":
            before = self.proxy.counts.total()
            self.proxy.rates = dict.fromkeys(FAULTS, S3_RATE)
            self.finished.wait()
            self.proxy.rates = {}
            self.outcome.injected += self.proxy.counts.total() - before
            self.outcome.details = {name: self.proxy.counts[name] for name in FAULTS}
            return
        while self.outcome.injected < self.faults:
            if self._wait():
                return
            if getattr(self, f"_hit_{kind}")():
                self.outcome.injected += 1
                console.say(f"{kind}: {self.outcome.injected} faults")

    def _wait(self) -> bool:
        """Pause until the next fault; whether the run has ended meanwhile."""
        kind = self.outcome.kind
        before = self.progress(self.destination)
        if self.finished.wait(self.pace * self.dice.uniform(*PAUSES[kind])):
            return True
        patient = kind in ("driver", "node") and self.outcome.injected % 2
        while patient and self.progress(self.destination) == before:
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

    def _hit_network(self) -> bool:
        self.proxy.cut(self.dice.uniform(*CUT_SECONDS))
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
    """How many ok rows each source has over all parts of the ledger, superseded ones included."""
    from pipelines.archive.ledger import LEDGER, OK, Ledger
    from pipelines.storage import open_storage

    ledger = Ledger(open_storage(url))
    rows: Counter[str] = Counter()
    for item in ledger.storage.list(LEDGER):
        for row in ledger.rows(item.key.removeprefix(LEDGER)) or ():
            rows[row.source_key] += row.status == OK
    return rows


def judge(outcome: Outcome, url: str, sources: set[str], undisturbed: dict[str, str]) -> None:
    """Count what went wrong in one run."""
    made, rows = outputs(url), ok_rows(url)
    explained = {f"{key}.sic" for key in sources}
    outcome.lost += sum(rows[key] == 0 or f"{key}.sic" not in made for key in sources)
    outcome.duplicated += sum(count > 1 for count in rows.values()) + len(set(made) - explained)
    outcome.corrupt += sum(undisturbed.get(key) != digest for key, digest in made.items())


def save(options: argparse.Namespace, found: list[Outcome]) -> None:
    """Write what is known so far: a run takes long."""
    if options.json:
        results = {"objects": options.objects, "results": [asdict(one) for one in found]}
        options.json.write_text(json.dumps(describe_run() | results, indent=2) + "\n")


def benchmark(options: argparse.Namespace, folder: Path) -> list[Outcome]:
    """All kinds, one after the other."""
    import boto3

    source = folder / "source"
    sources = make_pictures(source, options.objects, options.photos)
    command = shlex.split(options.command)
    calm = str(folder / "undisturbed")
    found = []
    with moto_server() as endpoint, FaultProxy(endpoint, {}) as proxy:
        os.environ["AWS_ENDPOINT_URL"] = endpoint  # of this process, to judge by
        boto3.client("s3").create_bucket(Bucket="faults")
        os.environ["AWS_ENDPOINT_URL"] = proxy.url  # of the nodes, and of all that they start
        nodes = Nodes()
        os.environ["AWS_ENDPOINT_URL"] = endpoint
        try:
            environment = os.environ | {"RAY_ADDRESS": nodes.address}
            subprocess.run([*command, str(source), calm], check=True, cwd=ROOT, env=environment)
            undisturbed = outputs(calm)
            for kind in options.kinds:
                trial = Trial(kind, options, proxy, nodes, parts)
                while trial.outcome.injected < options.faults:
                    url = f"s3://faults/{kind}{trial.outcome.runs}"
                    trial.run(source, url)
                    judge(trial.outcome, url, sources, undisturbed)
                    console.say(str(trial.outcome))
                found.append(trial.outcome)
                save(options, found)
        finally:
            nodes.close()
    return found


def main() -> int:
    """Parse, run, print the table; 1 when anything was lost, duplicated or corrupt."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--objects", type=int, default=5000)
    parser.add_argument("--faults", type=int, default=50, help="at least so many of each kind")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--pace", type=float, default=1.0, help="pauses times this")
    parser.add_argument("--photos", type=Path, help="photographs to shrink; scikit-image's")
    parser.add_argument("--work", type=Path, help="keep pictures and the undisturbed run there")
    parser.add_argument("--json", type=Path, help="write the results there as well")
    parser.add_argument(
        "--command",
        default=f"{sys.executable} {ROOT / 'pipelines' / 'compress_archive.py'}",
        help="what is run, with source and destination appended",
    )
    options = parser.parse_args()
    clean_up_when_terminated()
    defaults = {
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "testtest",
        "AWS_DEFAULT_REGION": "us-east-1", "RAY_AUTH_MODE": "disabled",
        "DEEPSIC_NUM_CPUS": "2", "DEEPSIC_OBJECT_STORE_MB": "200", "PYTHONPATH": str(ROOT),
        "RAY_raylet_start_wait_time_s": "45", "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "300",
    }  # fmt: skip
    os.environ.update(defaults)
    with tempfile.TemporaryDirectory() as folder:
        found = benchmark(options, options.work or Path(folder))
    columns = ["kind", "faults", "runs", "restarts", "lost", "duplicated", "corrupt", "seconds"]
    rows = [
        [o.kind, o.injected, o.runs, o.restarts, o.lost, o.duplicated, o.corrupt, round(o.seconds)]
        for o in found
    ]
    console.table(f"Faults, {options.objects} objects a run", columns, rows)
    return int(any(one.lost or one.duplicated or one.corrupt for one in found))


if __name__ == "__main__":
    sys.exit(main())
