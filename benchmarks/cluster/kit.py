"""`ray up cluster-local.yaml` on the three test hosts, with an S3 server beside them.

with Hosts(...) as hosts, s3_server() as s3, LocalCluster(hosts, s3, folder) as cluster:
    done = cluster.job("python pipelines/preprocess.py s3://data/photos --out s3://data/out")
    print(done.seconds, done.log)
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from deepsic.errors import UsageError
from pipelines.stage import console
from tests.support.hosts import GATEWAY, HOSTS, ROOT, Hosts, missing
from tests.support.s3_servers import CREDENTIALS, moto_server

__all__ = [
    "BUCKET",
    "FOLDER",
    "VENV",
    "Checkout",
    "ClusterJob",
    "Done",
    "Folder",
    "LocalCluster",
    "Venv",
    "need_hosts",
    "s3_server",
    "wait_until",
]

BUCKET = "data"
UP_SECONDS = 500.0
VENV, FOLDER = Path(sys.prefix), Path("/var/tmp/deepsic-hosts")

# Typer reads options from signatures, so each of the cluster's benchmarks declares these three.
Venv = Annotated[Path, typer.Option(metavar="DIR", help="The hosts' Python.")]
Folder = Annotated[Path, typer.Option(metavar="DIR", help="The hosts' files, and all logs.")]
Checkout = Annotated[Path, typer.Option(metavar="DIR", help="What is copied to the hosts.")]


@dataclass(frozen=True, kw_only=True)
class Done:
    """A command that has ended."""

    code: int
    seconds: float
    log: str

    def check(self) -> Done:
        """Raise with the end of the log unless it succeeded."""
        if self.code:
            raise RuntimeError(f"exit {self.code}: {self.log[-4000:]}")
        return self


def need_hosts() -> None:
    """Raise `UsageError` where this machine can't make hosts."""
    if reason := missing():
        raise UsageError(reason)


def wait_until(what: str, seconds: float, question: Any) -> None:
    """Ask every second until the answer is true; raise `TimeoutError` after `seconds`."""
    end = time.monotonic() + seconds
    while not question():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not after {seconds:.0f} s")
        time.sleep(1)


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """A moto server that this machine and the hosts reach; boto3 here is set to use it."""
    with moto_server(GATEWAY) as endpoint:
        os.environ.update(CREDENTIALS | {"AWS_ENDPOINT_URL": endpoint})
        import boto3

        boto3.client("s3").create_bucket(Bucket=BUCKET)
        yield endpoint


class ClusterJob:
    """A command on the head, under way."""

    def __init__(self, line: Sequence[str], log: Path) -> None:
        self.log, self._began = log, time.monotonic()
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                line, stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )

    def text(self) -> str:
        """The log so far."""
        return self.log.read_text("utf-8", "replace")

    def ended(self) -> bool:
        """Whether it has."""
        return self._process.poll() is not None

    def says(self, words: str, seconds: float) -> None:
        """Wait until the log has these words; raises when it ends or time is up before."""

        def said() -> bool:
            if words in self.text():
                return True
            if self.ended():
                raise RuntimeError(f"ended without {words!r}: {self.text()[-3000:]}")
            return False

        wait_until(f"{words!r} in {self.log.name}", seconds, said)

    def wait(self, seconds: float = 600) -> Done:
        """Its end."""
        try:
            code = self._process.wait(seconds)
        finally:
            if not self.ended():
                self._process.kill()
        return Done(code=code, seconds=time.monotonic() - self._began, log=self.text())


class LocalCluster:
    """`ray up` at the beginning of a block, `ray down` at its end.

    Args:
        hosts: which run.
        endpoint: of the S3 server.
        folder: for the cluster's file and all logs.
        workers: hosts beside the head, 0 to 2.
        cpus: of each host, the head first.
    """

    def __init__(
        self,
        hosts: Hosts,
        endpoint: str,
        folder: Path,
        *,
        workers: int = 2,
        cpus: Sequence[int] = (1, 1, 1),
        checkout: Path = ROOT,
    ) -> None:
        self.hosts, self.folder, self.workers = hosts, folder.resolve(), workers
        self.endpoint, self.cpus, self.checkout = endpoint, cpus, checkout
        self.file = self.folder / "cluster-local.yaml"
        self._jobs = 0
        self.seconds: dict[str, float] = {}

    def __enter__(self) -> LocalCluster:
        self.folder.mkdir(parents=True, exist_ok=True)
        # A home of its own: Ray reads the token there and keeps the cluster's state in /tmp/ray.
        home = self.folder / "home" / ".ray"
        home.mkdir(parents=True, exist_ok=True)
        (home / "auth_token").write_text(secrets.token_hex(32), "ascii")
        (home / "auth_token").chmod(0o600)
        self.file.write_text(yaml.safe_dump(self._config()), "utf-8")
        shutil.rmtree("/tmp/ray/cluster-deepsic-test.state", ignore_errors=True)
        for name in ("state", "lock"):
            Path(f"/tmp/ray/cluster-deepsic-test.{name}").unlink(missing_ok=True)
        began = time.monotonic()
        self._ray("up", "-y", "--no-config-cache", str(self.file)).check()
        self.wait_for_nodes(1 + self.workers)
        self.seconds["ray up"] = time.monotonic() - began
        console.say(f"ray up: {self.seconds['ray up']:.0f} s, {1 + self.workers} hosts")
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if error is not None:  # the hosts die with all they have
            return
        began = time.monotonic()
        done = self._ray("down", "-y", str(self.file))
        self.seconds["ray down"] = time.monotonic() - began
        console.say(f"ray down: {self.seconds['ray down']:.0f} s, exit {done.code}")

    def ray_processes(self) -> dict[str, int]:
        """How many of Ray's processes each host still has."""
        counted = {}
        for name in list(HOSTS)[: 1 + self.workers]:
            printed = self.hosts.run(name, "pgrep -c 'raylet|gcs_server' || true").stdout
            counted[name] = int(printed or 0)
        return counted

    def wait_for_nodes(self, count: int, seconds: float = UP_SECONDS) -> None:
        """Wait until so many nodes are alive."""
        wait_until(f"{count} nodes", seconds, lambda: self.nodes() == count)

    def nodes(self) -> int:
        """Nodes that are alive, as the dashboard's state API says; 0 while it doesn't answer."""
        printed = self.hosts.run(
            "head",
            'curl -fsS -m 20 -H "Authorization: Bearer $(cat ~/.ray/auth_token)" '
            "http://127.0.0.1:8265/api/v0/nodes",
        ).stdout
        try:
            rows = json.loads(printed)["data"]["result"]["result"]
        except (ValueError, KeyError, TypeError):
            return 0
        return sum(row["state"] == "ALIVE" for row in rows)

    def on_head(self, command: str, *, seconds: float = 600) -> Done:
        """Run a command in the cluster's environment on the head."""
        began = time.monotonic()
        line = (
            f"cd ~/deepsic && . cluster/environment.sh head && export RAY_ADDRESS=auto && {command}"
        )
        printed = self.hosts.run("head", line, timeout=seconds)
        return Done(
            code=printed.returncode,
            seconds=time.monotonic() - began,
            log=printed.stdout + printed.stderr,
        )

    def submit(self, command: str) -> ClusterJob:
        """Start a stage by cluster/run.sh, as a Ray job that is followed."""
        self._jobs += 1
        line = f"bash ~/deepsic/cluster/run.sh {command}"
        name = f"{self._jobs:02d}_{Path(command.split()[1]).stem}.log"
        return ClusterJob([*self._ray_line("exec"), str(self.file), line], self.folder / name)

    def job(self, command: str, *, seconds: float = 600) -> Done:
        """Run a stage to its end; raises unless it succeeds."""
        return self.submit(command).wait(seconds).check()

    def _ray_line(self, verb: str) -> list[str]:
        home = self.folder / "home"
        ray = str(self.hosts.venv / "bin" / "ray")
        settings = [f"HOME={home}", "RAY_AUTH_MODE=token", "RAY_USAGE_STATS_ENABLED=0"]
        return ["env", "-C", str(self.checkout), *settings, ray, verb]

    def _ray(self, verb: str, *arguments: str) -> Done:
        self._jobs += 1
        log = self.folder / f"{self._jobs:02d}_ray_{verb}.log"
        return ClusterJob([*self._ray_line(verb), *arguments], log).wait()

    def _config(self) -> dict[str, Any]:
        """cluster-local.yaml with the hosts' addresses; all else as users have it."""
        text = (self.checkout / "cluster-local.yaml").read_text("utf-8")
        config: dict[str, Any] = yaml.safe_load(text)
        config["cluster_name"] = "deepsic-test"
        names = list(HOSTS)[1 : 1 + self.workers]
        config["provider"] |= {"head_ip": HOSTS["head"], "worker_ips": [HOSTS[n] for n in names]}
        config["auth"] = {"ssh_user": "root", "ssh_private_key": str(self.hosts.key)}
        config["min_workers"] = config["max_workers"] = self.workers
        settings = CREDENTIALS | {
            "DEEPSIC_BUCKET": BUCKET,
            "AWS_ENDPOINT_URL": self.endpoint,
            "RAY_enable_autoscaler_v2": "0",
            "DEEPSIC_NODE_OBJECT_STORE_MB": "100",
            "OMP_NUM_THREADS": "1",
            # The hosts' memory is the machine's, which others fill: Ray would kill for it.
            "RAY_memory_monitor_refresh_ms": "0",
        }
        lines = " ".join(shlex.quote(f"{key}={value}") for key, value in settings.items())
        # Each host has CPUs of its own number: it is told by its own name.
        cpus = " ".join(f"[{n}]={c}" for n, c in zip(HOSTS, self.cpus, strict=False))
        config["setup_commands"][0] = (
            f"declare -A cpus=({cpus}); printf '%s\\n' {lines} "
            '"DEEPSIC_NODE_CPUS=${cpus[$(hostname)]}" > ~/.deepsic.env'
        )
        return config
